"""Make the environment of the Myriad's worker: an old Python with the last runtime that has the plugin.

    python -m tools.make_myriad_env build/myriad
    python -m tools.make_myriad_env build/myriad_2022 --runtime openvino-2022.3     (for the tests)
    python -m tools.make_myriad_env build/tflite --runtime tflite-runtime

openvino 2021.4.2 is the last on the package index with the Myriad plugin and its firmware; it
needs Python 3.6 to 3.9 and numpy below 1.20. The board also needs libusb-1.0 (apt: libusb-1.0-0).
The index's 2022.3 has no plugin: with it the worker's file is tried on that API, on the processor.
tflite-runtime, the forerunner of LiteRT, stopped before numpy 2.
"""

from __future__ import annotations

import argparse
import ctypes.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.9", "3.8")
_OPENVINO = "from openvino.inference_engine import IECore, get_version; IECore(); print(get_version())"
_TFLITE = "import tflite_runtime.interpreter; print(tflite_runtime.__version__)"
RUNTIMES = {
    "openvino-2021.4": (("openvino==2021.4.2", "numpy==1.19.5"), _OPENVINO),
    "openvino-2022.3": (("openvino==2022.3.2", "numpy==1.24.4"), _OPENVINO),
    "tflite-runtime": (("tflite-runtime==2.14.0", "numpy<2"), _TFLITE),
}
"""Packages, and a line of Python that prints the version once they work."""


def old_pythons() -> Iterator[str]:
    """Interpreters that may do: on the path, and those of pyenv."""
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield found
        yield from map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True))


def works(python: str) -> bool:
    """Whether it is a Python and can make environments (a shim of an absent version cannot)."""
    program = "import venv, ensurepip; print(venv.__name__)"
    try:
        asked = subprocess.run([python, "-c", program], capture_output=True, check=False)
    except OSError:
        return False
    return asked.returncode == 0 and asked.stdout.strip() == b"venv"


def make(folder: Path, python: str, runtime: str) -> str:
    """The runtime's version, once the environment in ``folder`` has it.

    Raises:
        CalledProcessError: a step failed; its output has been shown.
    """
    inside, (packages, check) = folder / "bin" / "python", RUNTIMES[runtime]
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(inside), "-m", "pip", "install", "--quiet", *packages], check=True)
    found = subprocess.run([str(inside), "-c", check], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_myriad_env",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where it goes, e.g. build/myriad")
    parser.add_argument("--python", help="the Python 3.8 or 3.9 to make it from; found if not given")
    parser.add_argument("--runtime", choices=RUNTIMES, default="openvino-2021.4", help="(%(default)s)")
    asked = parser.parse_args()
    if asked.python is not None and not works(asked.python):
        parser.error(f"--python {asked.python}: no Python that can make an environment")
    python = asked.python or next(filter(works, old_pythons()), None)
    if python is None:
        sys.stderr.write(
            f"no Python {' or '.join(VERSIONS)} that can make an environment was found on the path or under "
            "pyenv; install one (pyenv install 3.9) or name it with --python\n"
        )
        return 1
    try:
        version = make(asked.folder, python, asked.runtime)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{' '.join(error.cmd[:4])}: failed with {error.returncode}\n")
        return 1
    print(f"{asked.folder / 'bin' / 'python'}: {asked.runtime} ({version}), made from {python}")
    if asked.runtime == "openvino-2021.4" and ctypes.util.find_library("usb-1.0") is None:
        print("libusb-1.0 is missing here: the plugin will not load until it is installed (libusb-1.0-0)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
