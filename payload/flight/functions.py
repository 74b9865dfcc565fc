"""Service 8, what is no imaging: the self-test, and emptying the queue.

Rules:
1. The self-test takes one test a turn, so that commands are answered in between, and reports
   each that passed as a step. The first that fails ends it with its reason.
   The networks are asked their known tiles in a process of its own, while no strip and no job
   of the model slots has their memory; a strip under way is waited for, and none begins.
2. One self-test at a time.
3. Emptying the queue drops what waits; what is on its way to the ground stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from payload.core.packets import Failure
from payload.core.telemetry import Telemetry
from payload.errors import CommandError, EngineLostError, PayloadError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.ports import ProductStore, StripWorker


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One test: passes, is not ready yet (False), or raises a PayloadError that says what is wrong."""

    name: str
    run: Callable[[], bool]


class NetworkTest:
    """The known tiles, asked by a process that ends with 0 if every task has an engine that answered."""

    def __init__(self, worker: StripWorker, is_taken: Callable[[], bool]) -> None:
        """``is_taken`` while somebody else has the memory of the networks."""
        self._worker = worker
        self._is_taken = is_taken
        self.is_wanted = False
        """Nobody else should begin with the networks."""
        self.is_running = False

    def run(self) -> bool:
        """The next look at it; False until it has ended.

        Raises:
            EngineLostError: a task has no engine that answered.
        """
        self.is_wanted = True
        if not self.is_running:
            if not self._is_taken():
                self._worker.start("", {})
                self.is_running = True
            return False
        self._worker.records()  # it is not asked what it tells, but that it does
        code = self._worker.exit_code()
        if code is None:
            return False
        self.is_wanted = self.is_running = False
        if code != 0:
            raise EngineLostError(
                f"the networks did not answer: `payload devices` ended with exit code {code}"
            )
        return True

    def stop(self) -> None:
        """No process is left."""
        self._worker.stop()


class Functions(Quiet):
    """Runs the tests; empties the store."""

    def __init__(
        self, store: ProductStore, tests: Sequence[SelfTest], networks: NetworkTest, telemetry: Telemetry
    ) -> None:
        """The test of the ``networks`` is the last: it takes longest."""
        self._store = store
        self._networks = networks
        self._tests = [*tests, SelfTest("networks", networks.run)]
        self._telemetry = telemetry
        self._call: Call | None = None
        self._left: list[SelfTest] = []

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"run_self_test": self._begin, "clear_queue": self._clear}

    def poll(self, _now: Now) -> None:
        """The next test of the self-test under way has been run."""
        if self._call is None:
            return
        test = self._left[0]
        try:
            if not test.run():
                return
        except PayloadError as error:
            self._telemetry.event("self_test_failed", test=test.name, reason=str(error))
            self._call.stop_at_step(CommandError(f"{test.name}: {error}", Failure.TEST_FAILED))
            self._call = None
            return
        self._call.progress()
        self._left.pop(0)
        if not self._left:
            self._telemetry.event("self_test_passed", tests=len(self._tests))
            self._call.complete()
            self._call = None

    def close(self) -> None:
        """A test under way is given up, and its command told so."""
        self._networks.stop()
        if self._call is not None:
            self._call.fail(CommandError("the service ends", Failure.INTERRUPTED))
            self._call = None

    def _begin(self, call: Call) -> bool:
        if self._call is not None:
            raise CommandError("a self-test is under way", Failure.BUSY)
        self._call, self._left = call, list(self._tests)
        return False

    def _clear(self, _call: Call) -> bool:
        entries, size_bytes = self._store.drop_waiting()
        self._telemetry.event("queue_cleared", entries=entries, size_bytes=size_bytes)
        return True
