"""Networks in a process of their own: what runs on the other side of `engine_process`.

One file that needs Python 3.8, numpy and one runtime, and nothing else of this program: the
last runtime with the Myriad plugin runs on no Python that the rest of the payload runs on.

    python -I engine_worker.py REQUESTS ANSWERS TENSORS FILES      four inherited file descriptors

Frames of 16 bytes go over two pipes, tensors lie in shared memory, artifacts in a second one:

    LOAD  body: JSON, what to load and where the tensors lie      -> REDY facts | FAIL
    TILE  number: slot, value: network                            -> DONE number: slot, value: degC x 10
    STOP                                                          end of work

Rules:
1. One tile after the other, in the order of the frames: a process that dies takes at most the
   work of one tile with it. After a failure or impossible numbers no other tile is begun.
2. The protocol has descriptors of its own: native code prints to standard output.
3. What may go wrong with a device has a name of its own (the values of
   `errors.EngineFault`), told before the plugin is
   touched where it can be: the plugin waits five seconds, or ends the process.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

FRAME = struct.Struct("<4sIiI")
"""Kind, number, value, bytes of the body that follows."""

NO_TEMPERATURE = -(1 << 31)
SETUP = 0xFFFFFFFF
"""Number of a FAIL that belongs to no slot."""

MYRIAD_VENDOR = "03e7"
MYRIAD_MUTEX = "/tmp/mvnc.mutex"
USB_DEVICES = "/sys/bus/usb/devices"
LOGIT_RANGE = 6.0
_PR_SET_PDEATHSIG = 1


class FaultError(Exception):
    """A value of `errors.EngineFault`, in words that a person can act on."""

    def __init__(self, fault: str, text: str) -> None:
        super().__init__(text)
        self.fault = fault


def scores_of_halves() -> Any:
    """uint8 (65536,): the score (`core.scene`) of every float16 logit, by its bits."""
    with np.errstate(all="ignore"):
        logits = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
        steps = np.clip((logits + LOGIT_RANGE) / (2 * LOGIT_RANGE), 0, 1) * 255
        steps[np.isnan(logits)] = 0
        return np.rint(steps).astype(np.uint8)


class OpenVino:
    """Today's OpenVINO on the CPU, compiled by the very code of the engine that is in process."""

    def __init__(self, load: dict[str, Any], networks: list[dict[str, Any]]) -> None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        try:
            from payload.drivers import engine_openvino as engine
            from payload.drivers.heap import give_back_freed_memory
            from payload.drivers.openvino_lean import ov
        except ImportError as error:
            raise FaultError("no_runtime", _no_runtime("openvino", error)) from error
        core = ov.Core()
        rows, columns = load["window_px"]
        self._requests = []
        self._tensor = ov.Tensor
        for network in networks:
            try:
                model = core.read_model(model=file_of(network, ".xml"), weights=file_of(network, ".bin"))
                compiled = engine.compile_for_window(core, model, rows, columns, 1, load["threads"])
            except RuntimeError as error:
                raise FaultError("bad_network", last_line(error)) from error
            self._requests.append(compiled.create_infer_request())
        self.facts = {"device": "CPU", "runtime": f"openvino {ov.__version__.split('-')[0]}"}
        give_back_freed_memory()

    def infer(self, number: int, inputs: dict[str, Any], output: Any) -> None:
        """Fill ``output`` from the tensors of one tile."""
        request = self._requests[number]
        for port in request.model_inputs:
            request.set_tensor(port, self._tensor(inputs[port.get_any_name()], shared_memory=True))
        request.set_tensor(request.model_outputs[0], self._tensor(output, shared_memory=True))
        request.infer()

    def temperature(self) -> float | None:
        """A processor says nothing here."""
        return None


class InferenceEngine:
    """OpenVINO 2021.4 or 2022.3 through IECore: the Myriad X, or with it the CPU to compare."""

    def __init__(self, load: dict[str, Any], networks: list[dict[str, Any]]) -> None:
        options = load["options"]
        self._device = options.get("device", "MYRIAD")
        try:
            from openvino import inference_engine
        except ImportError as error:
            raise FaultError("no_runtime", _no_runtime("openvino 2021.4.2", error)) from error
        if self._device == "MYRIAD":
            look_for_myriad(options.get("usb_devices", USB_DEVICES), options.get("mutex", MYRIAD_MUTEX))
        self._core = inference_engine.IECore()
        self._rows, self._columns = load["window_px"]
        self._networks = [self._load(network) for network in networks]
        self._scores = scores_of_halves()
        version = inference_engine.get_version().split("-")[0]
        self.facts = {"device": self._device, "runtime": f"openvino {version}"}

    def _load(self, network: dict[str, Any]) -> Any:
        try:
            if self._device == "MYRIAD" and any(name.endswith(".blob") for name in network["files"]):
                return self._core.import_network(_on_disk(file_of(network, ".blob")), self._device)
            read = self._core.read_network(
                model=file_of(network, ".xml"), weights=file_of(network, ".bin"), init_from_buffer=True
            )
            prepare_myriad(read, self._rows, self._columns, self._device)
            config = {} if self._device == "MYRIAD" else {"ENFORCE_BF16": "NO"}
            return self._core.load_network(read, self._device, config)
        except RuntimeError as error:
            raise FaultError(*myriad_fault(str(error))) from error

    def infer(self, number: int, inputs: dict[str, Any], output: Any) -> None:
        """Fill ``output`` from the tensors of one tile."""
        network = self._networks[number]
        feed = {name: inputs[name] for name in network.input_info}
        try:
            (answer,) = network.infer(feed).values()
        except RuntimeError as error:
            raise FaultError("failed", last_line(error)) from error
        store_answer(answer, output, self._scores)

    def temperature(self) -> float | None:
        """Degrees Celsius of the device; a processor says nothing here."""
        if self._device != "MYRIAD":
            return None
        return float(self._networks[0].get_metric("DEVICE_THERMAL"))


def lite_rt(load: dict[str, Any], networks: list[dict[str, Any]]) -> Any:
    """LiteRT or tflite-runtime, by the very code of the engine that is in process."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from payload.drivers.litert import LiteRt, NoRuntimeError

    try:
        runtime = LiteRt([file_of(network, ".tflite") for network in networks], load["threads"])
        runtime.check_answers([network["task"] for network in networks])
        return runtime
    except NoRuntimeError as error:
        raise FaultError("no_runtime", _no_runtime("ai-edge-litert or tflite-runtime", error)) from error
    except (RuntimeError, ValueError) as error:
        raise FaultError("bad_network", last_line(error)) from error


RUNTIMES = {"openvino": OpenVino, "myriad": InferenceEngine, "litert": lite_rt}


def prepare_myriad(network: Any, rows_px: int, columns_px: int, device: str = "MYRIAD") -> None:
    """Set window, bytes in and float16 out; the same for a blob and for a network read on board."""
    pitch = {"b10": 1, "b20": 2, "b60": 6}
    shapes = {name: list(port.input_data.shape) for name, port in network.input_info.items()}
    for name, shape in shapes.items():
        if name in pitch:
            shape[2:] = [rows_px // pitch[name], columns_px // pitch[name]]
            network.input_info[name].precision = "U8"
    network.reshape(shapes)
    for port in network.outputs.values():
        port.precision = "FP16" if device == "MYRIAD" else "FP32"


def store_answer(answer: Any, output: Any, scores: Any) -> None:
    """Logits to scores where bytes are wanted (NaN to 0 all over), else the numbers as they are."""
    if output.dtype != np.uint8:
        output[...] = answer.reshape(output.shape)
        return
    halves = np.ascontiguousarray(answer, dtype=np.float16)
    np.take(scores, halves.view(np.uint16).reshape(output.shape), out=output)


def is_plausible(output: Any) -> bool:
    """Whether numbers can be an answer: finite, or in one row of scores a class ahead in some pixel."""
    if output.dtype != np.uint8:
        return bool(np.isfinite(output).all())
    middle = output[:, output.shape[1] // 2]
    return bool((middle.max(axis=0) != middle.min(axis=0)).any())


def look_for_myriad(usb_devices: str, mutex: str) -> None:
    """Return if a Myriad X is on the bus and may be used.

    Raises:
        FaultError: no_libusb, no_device, no_permission or mutex_taken.
    """
    if not _has_library("libusb-1.0.so.0"):
        raise FaultError("no_libusb", "libusb-1.0.so.0 is missing: install libusb-1.0-0")
    try:
        with open(mutex, "r+b"):  # noqa: PTH123  # a Path has no more to say
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        owner = Path(mutex).stat().st_uid
        raise FaultError(
            "mutex_taken",
            f"{mutex} belongs to user {owner} ({error.strerror}): the plugin would end this process; "
            "remove the file or run as that user",
        ) from error
    nodes = myriad_nodes(usb_devices)
    if not nodes:
        raise FaultError(
            "no_device",
            f"no Myriad X (USB vendor {MYRIAD_VENDOR}) on the bus; a container must see {usb_devices} "
            "and /dev/bus/usb",
        )
    for node in nodes:
        if os.path.exists(node) and not os.access(node, os.R_OK | os.W_OK):  # noqa: PTH110
            raise FaultError("no_permission", f"{node}: no permission; a udev rule or group must give it")


def myriad_nodes(usb_devices: str) -> list[str]:
    """Device nodes of every Myriad on the bus, started (f63b) or not yet (2485)."""
    nodes = []
    for place in sorted(Path(usb_devices).glob("*")):
        try:
            if (place / "idVendor").read_text().strip() == MYRIAD_VENDOR:
                bus, device = (int((place / name).read_text()) for name in ("busnum", "devnum"))
                nodes.append(f"/dev/bus/usb/{bus:03d}/{device:03d}")
        except (OSError, ValueError):
            continue
    return nodes


def myriad_fault(text: str) -> tuple[str, str]:
    """Fault and words of what the plugin complained of."""
    line = last_line(text)
    if "libusb" in text:
        return "no_libusb", "libusb-1.0.so.0 is missing: install libusb-1.0-0"
    if "not registered" in text or "Failed to create plugin" in text:
        return "no_runtime", f"this OpenVINO has no Myriad plugin: {line}"
    if "NC_ERROR" in text or "no available devices" in text or "not found" in text:
        return "no_device", f"the plugin finds no Myriad X: {line}"
    return "bad_network", line


def last_line(error: Any) -> str:
    """The last line of a complaint that says anything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-400:] if lines else type(error).__name__


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _no_runtime(name: str, error: Exception) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{sys.executable} (Python {version}) has no {name}: {last_line(error)}"


def file_of(network: dict[str, Any], suffix: str) -> bytes:
    """The content of the file that ends in ``suffix``."""
    for name, content in network["files"].items():
        if name.endswith(suffix):
            return bytes(content)
    raise FaultError("bad_network", f"{network['task']}: no {suffix} among {', '.join(network['files'])}")


def _on_disk(content: bytes) -> str:
    """A path that holds ``content`` while this process lives."""
    memory = os.memfd_create("blob")
    os.write(memory, content)
    return f"/proc/self/fd/{memory}"


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123
        return int(stream.read().split()[1]) * resource.getpagesize()


class Worker:
    """The loop: frames in, frames out."""

    def __init__(self, requests: int, answers: int, tensors: int, files: int) -> None:
        self._requests, self._answers = os.fdopen(requests, "rb", 0), answers
        self._tensors = mmap.mmap(tensors, 0)
        self._files = files
        self._networks: list[str] = []

    def serve(self, runtimes: dict[str, Any]) -> None:
        """Work until told to stop or until nobody is there to tell."""
        kind, _, _, load = self._next()
        if kind != b"LOAD":
            return
        try:
            runtime = self._load(json.loads(load), runtimes)
        except FaultError as error:
            self._fail(SETUP, error)
            return
        facts = dict(runtime.facts, resident_bytes=_resident_bytes(), python=sys.version.split()[0])
        self._send(b"REDY", 0, 0, json.dumps(facts).encode())
        while True:
            kind, slot, number, _ = self._next()
            if kind != b"TILE":
                return
            try:
                runtime.infer(number, self._inputs[slot], self._outputs[slot][number])
                degrees = runtime.temperature()
            except FaultError as error:
                self._fail(slot, error)
                return
            value = NO_TEMPERATURE if degrees is None else round(degrees * 10)
            self._send(b"DONE", slot, value, b"")
            if not is_plausible(self._outputs[slot][number][0]):
                return

    def _load(self, load: dict[str, Any], runtimes: dict[str, Any]) -> Any:
        resource.setrlimit(resource.RLIMIT_DATA, (load["data_bytes"], load["data_bytes"]))
        networks = []
        for network in load["networks"]:
            files = {name: os.pread(self._files, size, at) for name, (at, size) in network["files"].items()}
            networks.append({"task": network["task"], "files": files})
        self._inputs = [
            {name: self._array(*place) for name, place in slot.items()} for slot in load["inputs"]
        ]
        self._outputs = [[self._array(*place) for place in slot] for slot in load["outputs"]]
        return runtimes[load["runtime"]](load, networks)

    def _array(self, offset: int, kind: str, shape: list[int]) -> Any:
        count = int(np.prod(shape))
        return np.frombuffer(self._tensors, np.dtype(kind), count, offset).reshape(shape)

    def _next(self) -> tuple[bytes, int, int, bytes]:
        head = self._read(FRAME.size)
        kind, number, value, size = FRAME.unpack(head)
        return kind, number, value, self._read(size)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self._requests.read(size - len(content))
            if not more:
                sys.exit(0)
            content += more
        return content

    def _send(self, kind: bytes, number: int, value: int, body: bytes) -> None:
        os.write(self._answers, FRAME.pack(kind, number, value, len(body)) + body)

    def _fail(self, number: int, error: FaultError) -> None:
        body = json.dumps({"fault": error.fault, "text": str(error)}).encode()
        self._send(b"FAIL", number, 0, body)


def main(runtimes: dict[str, Any]) -> NoReturn:
    """Serve on the four descriptors of the command line; ends with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    Worker(*map(int, sys.argv[1:5])).serve(runtimes)
    sys.stdout.flush()
    os._exit(0)  # a plugin's exit code may hang


if __name__ == "__main__":
    main(RUNTIMES)
