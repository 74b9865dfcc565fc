"""A Python that has the packages of the extra `ground` and no others: what `make run` installs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def distributions(extras: str) -> Iterator[metadata.Distribution]:
    """What pip would install for skysift[extras], of what is installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [("skysift", extra) for extra in ("", *filter(None, extras.split(",")))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if name != "skysift":
            yield found
        for requirement in map(Requirement, found.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, more) for more in ("", *requirement.extras)]


def packages_in(folder: Path) -> Path:
    """``folder``, to import from, with the real packages of the extra `ground` and no others."""
    folder.mkdir(exist_ok=True)
    for distribution in distributions("ground"):
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def ask(folder: Path, *words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m WORDS` where ``folder`` holds all that is installed."""
    return subprocess.run(
        [sys.executable, "-S", "-m", *map(str, words)],
        cwd=cwd,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
