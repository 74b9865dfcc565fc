"""The walk-through of docs/updates.md does what it says, line by line, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "updates.md"


def lines_of(page: str) -> list[str]:
    """The indented lines of the sections on the ground and on board, in their order."""
    walk = page.partition("## On the ground")[2].partition("## Who may do what")[0]
    return re.findall(r"^    (\S.*)$", walk, re.MULTILINE)


def ran(line: str, folder: Path) -> str:
    """What the line prints, run in ``folder``."""
    python = {"python": [sys.executable], "payload": [sys.executable, "-m", "payload"]}
    first, *words = shlex.split(line)
    done = subprocess.run(
        [*python.get(first, [first]), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_walk_of_an_update_ends_with_a_confirmed_model(tmp_path: Path) -> None:
    for name in ("models", "strips", "tools", "payload"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "firmware_configs", tmp_path / "firmware_configs")
    name, shown = "", []
    for line in lines_of(PAGE.read_text()):
        told = ran(line.replace("ID.update", name), tmp_path)
        name = "".join(re.findall(r"received/(\w+\.update): whole", told)) or name
        shown += [told] if line.startswith("payload models") else []
    on_trial, confirmed = shown
    assert re.search(r"^scene +a +runs +trial +scene_s2_v6 .* 0 of 24 tiles", on_trial, re.MULTILINE)
    assert re.search(r"^scene +a +runs +good +scene_s2_v6 ", confirmed, re.MULTILINE)
    assert "scene: rollback index 1 reached" in confirmed
