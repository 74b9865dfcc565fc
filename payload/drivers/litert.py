"""The LiteRT interpreter, or the older tflite-runtime where that is what the flight image has.

Codes and scores are int8 in a TFLite file: the byte less 128, which is its top bit turned over.
Tensors are (1, row, col, channel) there and (1, channel, row, col) here. Runs on Python 3.8.
"""

from __future__ import annotations

from typing import Any  # all that Python 3.8 has

import numpy as np

_TOP_BIT = 0x80


class NoRuntimeError(Exception):
    """Neither of the two is installed."""


class LiteRt:
    """One interpreter for each network."""

    def __init__(self, networks: list[bytes], threads: int) -> None:
        """Load the TFLite files.

        Raises:
            NoRuntimeError: nothing to load them with.
            RuntimeError, ValueError: a file is not what the interpreter takes.
        """
        runtime, interpreter_of = find_runtime()
        self.facts = {"device": "CPU", "runtime": runtime}
        self._interpreters = []
        for content in networks:
            interpreter = interpreter_of(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
            self._interpreters.append(interpreter)

    def window_px(self, number: int) -> tuple[int, int]:
        """Rows and columns of the one window size that a file is made for."""
        for port in self._interpreters[number].get_input_details():
            if port["name"] == "b10":
                return int(port["shape"][1]), int(port["shape"][2])
        raise ValueError("no input b10")

    def answers_bytes(self, number: int) -> bool:
        """Whether a network answers scores, and not an atmosphere."""
        return bool(self._interpreters[number].get_output_details()[0]["dtype"] == np.int8)

    def check_answers(self, tasks: list[str]) -> None:
        """Returns if every network answers for its task, "scene" or "surface".

        Raises:
            ValueError: one does not.
        """
        for number, task in enumerate(tasks):
            if self.answers_bytes(number) is not (task == "scene"):
                raise ValueError(f"network {number}: its answers are none of a {task} network")

    def infer(self, number: int, inputs: dict[str, Any], output: Any) -> None:
        """Fill ``output`` (uint8 scores or float32 atmosphere) from the tensors of one tile."""
        interpreter = self._interpreters[number]
        for port in interpreter.get_input_details():
            _fill(interpreter.tensor(port["index"])(), inputs[port["name"]])
        interpreter.invoke()
        answer = interpreter.tensor(interpreter.get_output_details()[0]["index"])()
        answer = np.moveaxis(answer, 3, 1)
        if output.dtype == np.uint8:
            np.bitwise_xor(answer.view(np.uint8), _TOP_BIT, out=output)
        else:
            output[...] = answer

    def temperature(self) -> float | None:
        """A processor says nothing here."""
        return None


def find_runtime() -> tuple[str, Any]:
    """Name with version, and interpreter, of the runtime that is there.

    Raises:
        NoRuntimeError: neither is.
    """
    try:
        import ai_edge_litert as found
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            import tflite_runtime as found
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise NoRuntimeError(str(error)) from error
    name = "litert" if found.__name__ == "ai_edge_litert" else "tflite-runtime"
    return f"{name} {getattr(found, '__version__', 'of unknown version')}", Interpreter


def _fill(port: Any, tensor: Any) -> None:
    if port.dtype == np.int8:
        np.bitwise_xor(np.moveaxis(tensor, 1, 3), _TOP_BIT, out=port.view(np.uint8))
    else:
        port[...] = np.moveaxis(tensor, 1, 3)
