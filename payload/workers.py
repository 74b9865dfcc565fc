"""How the process of an engine is run, and which files of an artifact serve a window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from payload.config import Config
from payload.config.engines import ChildConfig, EngineKind, StandInConfig
from payload.core.manifest import Artifact
from payload.drivers.engine_process import WORKER, WorkerSpec

RUNTIMES = {
    EngineKind.MYRIAD: "myriad",
    EngineKind.OPENVINO: "openvino",
    EngineKind.LITERT: "litert",
    EngineKind.STAND_IN: "stand_in",
}


def worker_spec(kind: EngineKind, config: Config) -> WorkerSpec:
    """How the process of an engine is run."""
    child = config.engine.child(kind)
    assert child is not None, kind
    is_stand_in = isinstance(child, StandInConfig)
    options: dict[str, object] = {}
    if isinstance(child, StandInConfig):
        state = config.folder(config.strip.scratch) / "stand_in.state"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.unlink(missing_ok=True)  # its tiles are counted from this run on
        options = {
            "faults": child.faults,
            "state": str(state),
            "target": child.target.value,
            "memory_bytes": child.memory_bytes,
        }
    return WorkerSpec(
        device=kind.value,
        target=config.engine.target(kind),
        runtime=RUNTIMES[kind],
        python=_python(child, config) if isinstance(child, ChildConfig) else None,
        threads=1 if is_stand_in else config.engine.threads,
        memory_bytes=child.memory_bytes,
        start_s=child.start_s,
        deadline_s=child.deadline_s,
        worker=config.folder(child.worker) if isinstance(child, StandInConfig) else WORKER,
        options=options,
    )


def _python(child: ChildConfig, config: Config) -> Path | None:
    return None if child.python == "this" else config.folder(child.python)


def serves(artifact: Artifact, window_px: tuple[int, int]) -> bool:
    """Whether it has a file for windows of that size."""
    size = "{}x{}".format(*window_px)
    names = [file.path for file in artifact.files]
    return any(name.endswith(".xml") or (size in name and name.endswith(".tflite")) for name in names)


def network_files(
    artifact: Artifact, files: Mapping[str, bytes], window_px: tuple[int, int]
) -> dict[str, bytes]:
    """The files that serve windows of that size: IR any, a blob or TFLite file its own; none if
    nothing does."""
    if not serves(artifact, window_px):
        return {}
    size = "{}x{}".format(*window_px)
    names = [file.path for file in artifact.files]
    return {name: files[name] for name in names if size in name or not name.endswith((".blob", ".tflite"))}
