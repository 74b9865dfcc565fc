"""A stand-in for the Myriad's worker, for benches without hardware: same frames, told to go wrong.

Computes the Myriad's artifact with float16 arithmetic simulated (`tools.halves`), or the
processor's artifact as it is. It says what it is in every record, and no flight board may name it.

Faults, as kind@tile, separated by blanks; tiles are counted over all its lives:
  hang    never answers            crash   dies of SIGKILL         late    answers after its deadline
  nan     impossible numbers       lose    the device is gone for a while, then on the bus again
  hot     95 degC for a while      mutex   ends with exit code 1, as the plugin whose mutex is another's
  memory  takes more than its memory_bytes and answers on       wrong  numbers that could be right
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from payload.drivers import engine_worker as protocol
from payload.drivers.engine_openvino import compile_for_window
from payload.drivers.network import GRID_OF_INPUT
from payload.drivers.openvino_lean import ov
from tools.whole import whole

KINDS = ("hang", "crash", "late", "nan", "lose", "hot", "mutex", "memory", "wrong")
AWAY_S = 0.3
HOT_DEGC, COOL_DEGC = 95.0, 45.0
_FOREVER_S = 1e6


def parse_faults(text: str) -> dict[int, str]:
    """Tile to kind, of "kind@tile kind@tile" or "none".

    Raises:
        ValueError: not of this form.
    """
    faults = {}
    for word in text.split() if text != "none" else []:
        kind, _, tile = word.partition("@")
        if kind not in KINDS or not tile.isdigit():
            raise ValueError(f"{word}: must be one of {', '.join(KINDS)}, @ and a tile")
        faults[int(tile)] = kind
    return faults


class State:
    """What outlives the process: tiles begun, starts refused, until when the device is gone or hot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        now = {"tiles": 0, "refused": 0, "away_until_s": 0.0, "hot_until_s": 0.0}
        self.now: dict[str, float] = json.loads(path.read_text()) if path.exists() else now

    def save(self, **changes: float) -> None:
        self.now |= changes
        with whole(self._path) as part:
            part.write_text(json.dumps(self.now))


class StandIn:
    """As the runtimes of `engine_worker`."""

    def __init__(self, load: Mapping[str, Any], networks: Sequence[Mapping[str, Any]]) -> None:
        options = load["options"]
        self._faults = parse_faults(options["faults"])
        self._late_s = float(options.get("late_s", 5.0))
        self._memory_bytes = int(options["memory_bytes"])
        self._taken: list[NDArray[np.uint8]] = []
        self._state = State(Path(options["state"]))
        if self._state.now["away_until_s"] > time.time():
            self._state.save(refused=self._state.now["refused"] + 1)
            raise protocol.FaultError("no_device", "the stand-in plays a device that is off the bus")
        is_myriad = options["target"] == "myriad"
        core = ov.Core()
        self._requests = []
        for network in networks:
            model = core.read_model(
                model=protocol.file_of(network, ".xml"), weights=protocol.file_of(network, ".bin")
            )
            if is_myriad:
                model = read_codes(_halves(model))
            compiled = compile_for_window(core, model, *load["window_px"], 1, load["threads"])
            self._requests.append(compiled.create_infer_request())
        self._scores = protocol.scores_of_halves()
        arithmetic = "simulated float16" if is_myriad else "as the processor"
        version = ov.__version__.split("-")[0]
        self.facts = {"device": "stand_in", "runtime": f"openvino {version} {arithmetic}"}

    def infer(self, number: int, inputs: Mapping[str, NDArray[Any]], output: NDArray[Any]) -> None:
        """Fill ``output``, or do what was asked for instead at this tile."""
        tile = int(self._state.now["tiles"])
        self._state.save(tiles=tile + 1)
        fault = self._faults.get(tile)
        if fault is not None:
            self._go_wrong(fault)  # nan, wrong and hot go with an answer
        request = self._requests[number]
        for port in request.model_inputs:
            request.set_tensor(port, ov.Tensor(inputs[port.get_any_name()], shared_memory=True))
        request.infer()
        answer = request.get_output_tensor(0).data
        if answer.dtype == np.uint8:
            output[...] = answer
        else:
            protocol.store_answer(answer, output, self._scores)
        if fault == "hot":
            self._state.save(hot_until_s=time.time() + AWAY_S)
        if fault == "wrong":
            output[...] = np.roll(output, 1, axis=1)
        if fault == "nan":
            output[...] = 0 if output.dtype == np.uint8 else np.nan

    def _go_wrong(self, fault: str) -> None:
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            time.sleep(_FOREVER_S)
        if fault == "late":
            time.sleep(self._late_s)
        if fault == "memory":
            self._taken.append(np.ones(self._memory_bytes, np.uint8))  # touched, not only asked for
        if fault == "lose":
            self._state.save(away_until_s=time.time() + AWAY_S)
            raise protocol.FaultError("failed", "Failed to read output from FIFO: NC_ERROR (stand-in)")
        if fault == "mutex":
            sys.stderr.write("E: [ncAPI] ncDeviceOpen:764 global mutex initialization failed (stand-in)\n")
            sys.stderr.flush()
            os._exit(1)

    def temperature(self) -> float:
        """Degrees Celsius that it plays."""
        return HOT_DEGC if self._state.now["hot_until_s"] > time.time() else COOL_DEGC


def read_codes(model: ov.Model) -> ov.Model:
    """``model`` with uint8 codes in."""
    steps = ov.preprocess.PrePostProcessor(model)
    for name in GRID_OF_INPUT:
        steps.input(name).tensor().set_element_type(ov.Type.u8)
    return steps.build()


def _halves(model: ov.Model) -> ov.Model:
    from tools.halves import simulate_halves  # only where float16 is asked for

    return simulate_halves(model)


if __name__ == "__main__":
    protocol.main({"stand_in": StandIn})
