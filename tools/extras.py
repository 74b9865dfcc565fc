"""Which extra of pyproject.toml brings what a command lacks: said in one line, with exit code 2.

Commands import what they need where they need it. Importing `tools` puts `say` in place of Python's
own last word, so that no command has to ask.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import TracebackType

EXIT_CODE = 2

MODULES = {
    "safe": ("rasterio",),
    "parquet": ("pyarrow",),
    "litert": ("ai_edge_litert", "flatbuffers"),
    "downlink": ("matplotlib", "scipy"),
    "simulate": ("miepython", "numba", "prosail", "scipy"),
    "train": ("matplotlib", "nncf", "onnx", "scipy", "torch"),
    "rivals": ("matplotlib", "s2cloudless", "scipy", "skimage"),
    "bench": ("nncf", "onnx", "rasterio", "segmentation_models_pytorch", "torch"),
}
"""What can be imported once an extra is installed, of what `tools` imports."""

_OF_COMMAND = {
    "tools.bench": ("bench",),
    "tools.evaluate": ("rivals", "bench"),  # bench: --dtacsnet
    "tools.export": ("train,litert",),
    "tools.harmonise": ("train",),
    "tools.pvcc": ("train",),
    "tools.quantize": ("train",),
    "tools.retrain": ("train",),
    "tools.train": ("train",),
}
"""Extras to look in before the others, where several bring one module; with a comma: all of these at once."""


def extra_of(command: str, module: str) -> str | None:
    """The extra that ``command`` needs for ``module``, or several with commas; None if none brings it."""
    package = module.partition(".")[0]
    for extra in (*_OF_COMMAND.get(command, ()), *MODULES):
        if any(package in MODULES[one] for one in extra.split(",")):
            return extra
    return None


def line_of(command: str, module: str, extra: str) -> str:
    """What to say to a person, with the command that helps."""
    python, here = Path(sys.executable), Path.cwd()
    shown = python.relative_to(here) if python.is_relative_to(here) else python
    kind = "extras" if "," in extra else "extra"
    return f"{command}: no {module}; needs the {kind} '{extra}': {shown} -m pip install -e '.[{extra}]'"


def need(extra: str) -> None:
    """Ask for all of ``extra`` now, where its absence would show only after much work.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    for module in MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of `sys.excepthook`: one line for a module of an extra, Python's traceback for all else.

    Raises:
        SystemExit: with exit code 2, after the one line.
    """
    command, module = _command(), getattr(error, "name", None)
    extra = extra_of(command, module) if isinstance(error, ModuleNotFoundError) and module else None
    if extra is None:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(line_of(command, str(module), extra) + "\n")
    raise SystemExit(EXIT_CODE)


def _command() -> str:
    """As one types it behind `python -m`: a package runs its module `__main__`."""
    words = sys.orig_argv
    typed = words[words.index("-m") + 1] if "-m" in words[:-1] else Path(sys.argv[0]).name
    return typed.removesuffix(".__main__")
