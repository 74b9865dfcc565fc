"""On the ground what the payload will do: the same code, in the same order."""

from __future__ import annotations

from pathlib import Path

from payload import __version__
from payload.assembly import load_board, load_models
from payload.core.manifest import check_model_fits
from payload.core.package import Surroundings, check_files, check_surroundings, read_package
from payload.core.refusals import Refusal, refuse
from payload.core.signed import read_root
from payload.errors import ConfigError
from payload.proving import runtime_versions


def verify(path: Path, root_path: Path, config_path: Path, rollback_index: int) -> str:
    """One line if the payload with this configuration would take the package as far as its files.

    Raises:
        InstallError: it would not; code and reason are those of the payload.
    """
    content = path.read_bytes()
    root, _ = read_root(root_path.read_bytes())
    config = load_board(config_path, None)
    limit_bytes = config.updates.package_max_bytes
    package = read_package(content, len(content), root, limit_bytes)
    model = package.manifest.model
    target = config.engine.reference_target(model.task)
    around = Surroundings(__version__, runtime_versions(), (target,), rollback_index, limit_bytes)
    check_surroundings(package.manifest, around)
    try:
        check_model_fits(model, model.task, load_models(config)[1], target)
    except ConfigError as error:
        raise refuse(Refusal.DOES_NOT_FIT, str(error)) from error
    check_files(package, iter([content[package.head_bytes :]]))
    return (
        f"{path}: {model.name} version {model.version} would be taken by {config.board.name}; "
        "its known answers are asked on board"
    )
