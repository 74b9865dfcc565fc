"""Any engine in a child process: own interpreter, memory limit, deadline, kill and respawn.

        this process                                    child: engine_worker.py
    submit: copy codes into a slot ---- TILE frame ---> infer, slot by slot
    collect: view of the slot <-------- DONE frame ----

The child computes one tile after the other. What it has finished is taken before its loss is
told, so a loss costs the work of at most one tile. Nothing here waits for a child that does not
answer: every frame has a deadline, and a child that misses it is killed.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from payload.drivers import engine_worker as protocol
from payload.drivers.network import CELL_PX, GEOMETRY, GRID_OF_INPUT, Network, check_plausible
from payload.drivers.worker_child import WorkerChild, texts_of
from payload.errors import EngineFault, EngineLostError
from payload.types import EngineName, Inference, Target, Task, Tile, TileGrid

WORKER = Path(protocol.__file__)
_LOOK_S = 0.05
_ALIGNMENT_BYTES = 64
_BLOCK_BYTES = 4096
"""As `core.scrub`'s: what one CRC-32 is over."""
_UNTOUCHED_BYTES = 256 << 20
"""Private addresses of a healthy child that hold nothing: stacks and heaps; 100 MiB were seen."""
_CHANNELS = {"b10": 4, "b20": 6, "b60": 3}


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a child is run.

    Attributes:
        device: what the engine is called in telemetry: myriad, openvino, litert, stand_in.
        target: which artifacts it runs.
        runtime: key of RUNTIMES in the worker.
        python: interpreter that has the runtime; None for this program's own.
        memory_bytes: resident memory that the child may have before it is killed; the kernel gives
            it no more than _UNTOUCHED_BYTES of addresses beyond, should it grow faster than is looked.
        start_s, deadline_s: until it must have loaded; until it must have answered a tile.
        options: what the runtime's class in the worker reads.
    """

    device: str
    target: Target
    runtime: str
    python: Path | None
    threads: int
    memory_bytes: int
    start_s: float
    deadline_s: float
    worker: Path = WORKER
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Call:
    """One tile in the child, or answered and not yet collected."""

    task: Task
    index: int
    slot: int
    refusal: str | None = None
    degc: float | None = None


class ProcessEngine:
    """Implements `payload.ports.Device`: start, then submit and collect as any engine.

    The tensors and artifacts lie in shared memory that outlives the child, so a respawn copies
    nothing. ``facts`` is what the child told of itself when it was ready: device, runtime, python.
    """

    def __init__(self, spec: WorkerSpec, networks: Sequence[Network], tiles: TileGrid, slots: int) -> None:
        self.name, self.target, self.slots = spec.device, spec.target, slots
        self._spec = spec
        self._networks = {network.task: replace(network, files={}) for network in networks}
        self._tasks = list(self._networks)
        self._names: dict[Task, EngineName] = {}
        self._files, self._load = _shared_files(networks)
        files = {
            (network.task, name): content for network in networks for name, content in network.files.items()
        }
        # The second copy of what lies in shared memory; nobody holds a third.
        self._held = {which: bytearray(content) for which, content in files.items()}
        self._checks = {
            which: [
                zlib.crc32(content[start : start + _BLOCK_BYTES])
                for start in range(0, len(content), _BLOCK_BYTES)
            ]
            for which, content in files.items()
        }
        self._lay_out(tiles, slots)
        self._child: WorkerChild | None = None
        self._is_ready = False
        self.facts: Mapping[str, str] = {}
        self._degc: float | None = None
        self._clear()

    def _lay_out(self, tiles: TileGrid, slots: int) -> None:
        """Where each tensor of each slot lies: in the memory, and in what the child is told."""
        rows, columns = tiles.window_rows_px, tiles.window_columns_px
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            name: ("u1", (1, _CHANNELS[name], rows // grid, columns // grid))
            for name, grid in GRID_OF_INPUT.items()
        }
        shapes[GEOMETRY] = ("<f4", (1, 4, 1, 1))
        answers = {
            Task.SCENE: ("u1", (1, 4, rows, columns)),
            Task.SURFACE: ("<f4", (1, 48, rows // CELL_PX, columns // CELL_PX)),
        }
        places = _Places()
        inputs = [{name: places.take(*shape) for name, shape in shapes.items()} for _ in range(slots)]
        outputs = [[places.take(*answers[task]) for task in self._tasks] for _ in range(slots)]
        self._load |= {
            "runtime": self._spec.runtime,
            "threads": self._spec.threads,
            "data_bytes": self._spec.memory_bytes + _UNTOUCHED_BYTES,
            "window_px": [rows, columns],
            "options": dict(self._spec.options),
            "inputs": inputs,
            "outputs": outputs,
        }
        self._tensors = os.memfd_create("tensors")
        os.ftruncate(self._tensors, places.size_bytes)
        self._memory = mmap.mmap(self._tensors, places.size_bytes)
        self._inputs = [{name: self._array(place) for name, place in slot.items()} for slot in inputs]
        self._outputs = [[self._array(place) for place in slot] for slot in outputs]

    def _array(self, place: tuple[int, str, tuple[int, ...]]) -> NDArray[Any]:
        offset, kind, shape = place
        return np.frombuffer(self._memory, np.dtype(kind), int(np.prod(shape)), offset).reshape(shape)

    def _clear(self) -> None:
        self._calls: deque[_Call] = deque()
        self._answered = 0
        self._handed_out: _Call | None = None
        self._free = list(range(self.slots))
        self._head_since_s = 0.0

    # Life of the child

    def start(self) -> None:
        """A child begins to load; returns at once.

        Raises:
            EngineLostError: the interpreter cannot be run.
        """
        self.stop()
        self._clear()
        self.scrub()
        python = str(self._spec.python or sys.executable)
        try:
            self._child = WorkerChild(python, self._spec.worker, (self._tensors, self._files))
        except EngineLostError as error:
            self._lose(error.fault, str(error))
        self._head_since_s = time.monotonic()
        self._child.send(b"LOAD", 0, 0, json.dumps(self._load).encode())

    def scrub(self) -> tuple[int, int]:
        """Both copies of the artifacts in memory are the verified ones, whatever a particle did since."""
        blocks = mended = 0
        for network, told in zip(self._networks.values(), self._load["networks"], strict=True):
            for name, (at, size_bytes) in told["files"].items():
                held, checks = self._held[network.task, name], self._checks[network.task, name]
                for number, start in enumerate(range(0, size_bytes, _BLOCK_BYTES)):
                    shared = os.pread(self._files, min(_BLOCK_BYTES, size_bytes - start), at + start)
                    own = bytes(held[start : start + _BLOCK_BYTES])
                    whole = [block for block in (shared, own) if zlib.crc32(block) == checks[number]]
                    if not whole:
                        self._lose(
                            EngineFault.BAD_NETWORK, f"{name} is damaged in both of its copies in memory"
                        )
                    blocks += 2
                    mended += 2 - len(whole)
                    if shared != whole[0]:
                        os.pwrite(self._files, whole[0], at + start)
                    held[start : start + _BLOCK_BYTES] = whole[0]
        return blocks, mended

    def is_ready(self) -> bool:
        """Whether the child has loaded its networks; looks, and does not wait.

        Raises:
            EngineLostError: it cannot, or not in time; ``fault`` says why.
        """
        self._listen(0.0)
        self._check_limits()
        return self._is_ready

    def wait_ready(self) -> None:
        """Returns once the child has loaded its networks.

        Raises:
            EngineLostError: it cannot, or not within ``start_s``.
        """
        while not self.is_ready():
            self._listen(_LOOK_S)

    def stop(self) -> None:
        """No child is left; what it held is gone."""
        if self._child is not None:
            self._child.kill()
        self._child, self._is_ready = None, False

    def close(self) -> None:
        """As `stop`, and the shared memory is given back too."""
        self.stop()
        self._clear()
        for descriptor in (self._tensors, self._files):
            with suppress(OSError):  # closed before
                os.close(descriptor)

    # What the engine does

    def submit(self, task: Task, tile: Tile) -> None:
        self._take_back()
        if self._child is None or not self._is_ready:
            raise EngineLostError(f"{self.name}: not started", EngineFault.DIED)
        slot = self._free.pop()
        tensors = self._inputs[slot]
        for name, grid in GRID_OF_INPUT.items():
            np.copyto(tensors[name], tile.codes[grid])
        np.copyto(tensors[GEOMETRY], tile.geometry)
        if len(self._calls) == self._answered:
            self._head_since_s = time.monotonic()
        self._calls.append(_Call(task, tile.index, slot))
        self._child.send(b"TILE", slot, self._tasks.index(task), b"")

    def collect(self, timeout_s: float) -> Inference | None:
        self._take_back()
        until_s = time.monotonic() + timeout_s
        self._check_memory()  # of a child, too, whose answers always wait here already
        while self._calls and not self._answered:
            self._listen(
                max(0.0, min(until_s, self._head_since_s + self._spec.deadline_s) - time.monotonic())
            )
            self._check_limits()
            if not self._answered and time.monotonic() >= until_s:
                return None
        if not self._calls:
            return None
        call = self._calls.popleft()
        self._answered -= 1
        self._handed_out, self._degc = call, call.degc
        if call.refusal is not None:
            self._lose(EngineFault.FAILED, call.refusal)
        output = self._outputs[call.slot][self._tasks.index(call.task)][0]
        if call.task is Task.SURFACE:
            output = output.reshape(4, -1, *output.shape[1:])
        check_plausible(call.task, call.index, output)
        return Inference(call.task, call.index, output, self._names[call.task])

    def _take_back(self) -> None:
        """What the last `collect` handed out has been read: its slot is free again."""
        if self._handed_out is not None:
            self._free.append(self._handed_out.slot)
            self._handed_out = None

    def resident_bytes(self) -> int:
        """Resident memory of the child now, shared tensors included; 0 without one."""
        return self._child.resident_bytes() if self._child else 0

    def temperature_degc(self) -> float | None:
        """What the device said with the answer collected last; None if it does not say."""
        return self._degc

    @property
    def pid(self) -> int | None:
        """Process id of the child, if there is one."""
        return self._child.pid if self._child else None

    # What the child says

    def _listen(self, timeout_s: float) -> None:
        """Take what the child has sent; waits at most ``timeout_s`` for something.

        Raises:
            EngineLostError: it has ended, and everything that it had answered is collected.
        """
        if self._child is None or self._answered:
            return
        child = self._child
        try:
            for frame in child.frames(timeout_s):
                self._take_frame(*frame)
        except ValueError as error:
            self._lose(EngineFault.FAILED, f"says what no worker says: {protocol.last_line(error)}")
        if child.has_ended and not self._answered:
            self._lose(*child.reason_of_end())

    def _take_frame(self, kind: bytes, number: int, value: int, body: bytes) -> None:
        """What the child says has been done.

        Raises:
            EngineLostError: it says that it cannot go on, or what was not asked.
            ValueError: it makes no sense.
        """
        if kind == b"REDY" and not self._is_ready:
            device, runtime, python = texts_of(body, "device", "runtime", "python")
            self.facts = {"device": device, "runtime": runtime, "python": python}
            for task, network in self._networks.items():
                self._names[task] = network.made_by(self.target, device, runtime)
            self._is_ready = True
        elif kind == b"FAIL" and number == protocol.SETUP:
            fault, text = texts_of(body, "fault", "text")
            self._lose(EngineFault(fault), text)
        elif kind in (b"DONE", b"FAIL") and self._is_next(number):
            call = self._calls[self._answered]
            if kind == b"FAIL":
                (call.refusal,) = texts_of(body, "text")
            elif value != protocol.NO_TEMPERATURE:
                call.degc = value / 10
            self._answered += 1
            self._head_since_s = time.monotonic()
        else:
            self._lose(EngineFault.FAILED, "answers something that was not asked")

    def _is_next(self, slot: int) -> bool:
        """Whether the oldest tile that is not answered yet lies in ``slot``."""
        return self._answered < len(self._calls) and self._calls[self._answered].slot == slot

    def _check_limits(self) -> None:
        if self._child is None:
            return
        limit_s = self._spec.deadline_s if self._is_ready else self._spec.start_s
        is_asked = not self._is_ready or len(self._calls) > self._answered
        if is_asked and not self._answered and time.monotonic() >= self._head_since_s + limit_s:
            self._lose(EngineFault.LATE, f"no answer within {limit_s:g} s; killed")
        self._check_memory()

    def _check_memory(self) -> None:
        """A child above its memory ends at once; told when what it had answered is collected."""
        if self._child is None or self._child.resident_bytes() <= self._spec.memory_bytes:
            return
        reason = EngineFault.MEMORY, f"took more than its {self._spec.memory_bytes} bytes; killed"
        if not self._calls:
            self._lose(*reason)
        self._child.end(*reason)

    def _lose(self, fault: EngineFault, text: str) -> NoReturn:
        self.stop()
        raise EngineLostError(f"{self.name}: {text}", fault)


class _Places:
    """Hands out places in one stretch of memory."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def take(self, kind: str, shape: tuple[int, ...]) -> tuple[int, str, tuple[int, ...]]:
        """Offset, type and shape of a tensor with a place of its own."""
        offset = self.size_bytes
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        self.size_bytes += -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return offset, kind, shape


def _shared_files(networks: Sequence[Network]) -> tuple[int, dict[str, Any]]:
    """A memory file with the artifacts, and where each of them lies in it."""
    memory = os.memfd_create("artifacts")
    at, told = 0, []
    for network in networks:
        files = {}
        for name, content in network.files.items():
            os.pwrite(memory, content, at)
            files[name] = (at, len(content))
            at += len(content)
        told.append({"task": network.task.value, "files": files})
    return memory, {"networks": told}
