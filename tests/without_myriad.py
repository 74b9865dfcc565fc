"""Interpreters for the Myriad's worker that lack something, each in its own way, for real."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payload.drivers import engine_worker

REPOSITORY = Path(__file__).resolve().parents[1]
MYRIAD_PYTHON = REPOSITORY / "build" / "myriad" / "bin" / "python"
STRANGER_UID = 65534
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")

needs_old_runtime = pytest.mark.skipif(
    not MYRIAD_PYTHON.exists(), reason="python -m tools.make_myriad_env build/myriad first"
)


def _script(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@contextmanager
def nowhere(folder: Path) -> Iterator[Path]:
    yield folder / "nowhere" / "python"


@contextmanager
def another_python(folder: Path) -> Iterator[Path]:
    """This very one: it has numpy, and no runtime of 2021."""
    del folder
    yield Path(sys.executable)


@contextmanager
def no_device(folder: Path) -> Iterator[Path]:
    del folder
    if engine_worker.myriad_nodes(engine_worker.USB_DEVICES):
        pytest.skip("a Myriad X is on the bus")
    if not engine_worker._has_library("libusb-1.0.so.0"):
        pytest.skip("libusb is missing here, which is told first")
    yield MYRIAD_PYTHON


@contextmanager
def without_libusb(folder: Path) -> Iterator[Path]:
    """The libraries' folder under an overlay in which libusb is deleted, for the child alone."""
    if not engine_worker._has_library("libusb-1.0.so.0"):
        yield MYRIAD_PYTHON
        return
    files = " ".join(map(str, LIBRARIES.glob("libusb-1.0.so*")))
    hide = (
        f"mount -t tmpfs tmpfs {folder} && mkdir {folder}/upper {folder}/work && "
        f"mount -t overlay overlay -o lowerdir={LIBRARIES},upperdir={folder}/upper,workdir={folder}/work "
        f"{LIBRARIES} && rm {files}"
    )
    if (
        not files
        or subprocess.run(
            ["unshare", "--mount", "sh", "-c", hide], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs root that may mount in a namespace of its own")
    place = folder / "hiding"
    place.mkdir()
    hide = hide.replace(str(folder), str(place))
    yield _script(folder, f'exec unshare --mount sh -c \'{hide} && exec {MYRIAD_PYTHON} "$@"\' sh "$@"')


@contextmanager
def foreign_mutex(folder: Path) -> Iterator[Path]:
    """The plugin's mutex belongs to another user, and the child is a root that may not open it."""
    mutex = Path(engine_worker.MYRIAD_MUTEX)
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root that can give up a capability")
    if mutex.exists() and mutex.stat().st_uid != 0:
        pytest.skip(f"{mutex} is in use")
    mutex.unlink(missing_ok=True)
    mutex.touch(0o640)
    os.chown(mutex, STRANGER_UID, STRANGER_UID)
    try:
        yield _script(
            folder, f'exec setpriv --bounding-set=-dac_override,-dac_read_search {MYRIAD_PYTHON} "$@"'
        )
    finally:
        mutex.unlink()
