"""An engine made of engines: the best device that can serves, and no tile is lost with it.

    submit --> outstanding tiles, in their order --> the first device of the task's order that
    collect <-- answers                              serves and has room
                    |
                    +-- device lost: its tiles go back to their places and to the next device

Rules:
1. A tile is outstanding from `submit` until its answer, or its refusal by every device, has been
   handed out; each is handed out once.
2. When a device is lost, what it had answered is handed out first; its other tiles are given
   to the next device in their order.
3. A device works on one tile at a time, so a loss costs the work of at most one.
4. An answer that cannot be right demotes its device and is asked of the next; only the last
   device's word leaves a tile without an answer.
5. Weights are checked when asked for: copies in memory by block at once, those inside a runtime
   by the known tile, once the device holds no other. A device that never was asked it starts
   anew before, from verified files, so that what is expected of it comes from whole weights.
6. What a device is worth is decided in `core.failover` alone. A device that has no other beside
   it, for any of its tasks, has nothing to agree with and is not asked before rule 5 does.
7. While the reference is retired or its breaker is open, the others serve with nothing to agree
   with; they are asked again as soon as it has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from payload.config.engines import FailoverConfig
from payload.core import failover
from payload.core.engine_posts import EVENT_OF_FAULT, HOT, WRONG, Call, Link, Post
from payload.core.failover import Signal, Stage, Step
from payload.core.probe import Disagreement, disagreement, probe_tile, sample_of
from payload.core.telemetry import Telemetry
from payload.errors import EngineLostError, EngineOutputError
from payload.ports import Clock
from payload.types import Inference, Task, Tile, TileGrid

_LOOK_S = 0.01
_GLANCE_S = 0.25
_SETTLED = (Stage.SERVING, Stage.RETIRED)
_EXACT = Disagreement(0.0, 0.0)


class EngineChain:
    """Implements `payload.ports.Engine` over several devices."""

    def __init__(
        self,
        order: Mapping[Task, Sequence[Link]],
        tiles: TileGrid,
        slots: int,
        rules: FailoverConfig,
        clock: Clock,
        pause: Callable[[float], None],
        telemetry: Telemetry,
    ) -> None:
        """``order``: for each task its devices, the best first, the reference last."""
        self.slots = slots
        self._tiles, self._rules = tiles, rules
        self._clock, self._pause, self._telemetry = clock, pause, telemetry
        links = {link.device.name: link for links in order.values() for link in links}
        self._posts = {
            name: Post(link, tuple(task for task in order if link in order[task]))
            for name, link in links.items()
        }
        self._order = {
            task: [self._posts[link.device.name] for link in links] for task, links in order.items()
        }
        self._calls: list[Call] = []
        self._expected: dict[Task, NDArray[Any]] = {}
        for post in self._posts.values():
            if post.link.is_stand_in:
                telemetry.event("stand_in_used", device=post.device.name)

    def begin(self, wait_s: float) -> None:
        """Every device is on its way, and for ``wait_s`` at most the best ones were waited for.

        Raises:
            EngineLostError: a task has no device that could ever serve it.
        """
        until_s = self._now_s() + wait_s
        while True:
            self._look()
            best = [order[0].standing for order in self._order.values()]
            if all(standing.stage in _SETTLED or standing.losses for standing in best):
                return
            if self._now_s() >= until_s:
                return
            self._pause(_LOOK_S)

    def submit(self, task: Task, tile: Tile) -> None:
        self._calls.append(Call(task, tile))
        self._look()

    def collect(self, timeout_s: float) -> Inference | None:
        until_s = self._now_s() + timeout_s
        while self._calls:
            self._look()
            left_s = until_s - self._now_s()
            post = self._calls[0].post
            if post is None:
                self._pause(min(_LOOK_S, max(left_s, 0.0)))
            else:
                inference = self._collect_from(post, min(max(left_s, 0.0), self._glance_s()))
                if inference is not None:
                    return inference
            if left_s <= 0:
                return None
        return None

    def scrub(self) -> None:
        """The weights of every device are being checked (rule 5)."""
        for post in self._posts.values():
            try:
                blocks, mended = post.device.scrub()
            except EngineLostError as error:
                self._lose(post, error)
                continue
            self._telemetry.add("scrubbed_blocks", blocks)
            self._telemetry.add("mended_blocks", mended)
            if mended:
                self._telemetry.event("weights_mended", device=post.device.name, blocks=mended)
            post.is_due = post.standing.stage is Stage.SERVING

    def close(self) -> None:
        """No device has a tile or runs; the chain is at its end."""
        self._calls.clear()
        for post in self._posts.values():
            post.device.close()

    def facts(self) -> list[dict[str, object]]:
        """What to report of each device: where it stands, why, and what it has done."""
        return [
            {
                "device": name,
                "is_stand_in": post.link.is_stand_in,
                "tasks": [task.value for task in post.tasks],
                "stage": post.standing.stage.value,
                "reason": post.reason,
                "peak_bytes": post.peak_bytes,
                **{what: post.made[what] for what in ("tiles", "losses", "promotions", "recycled")},
                "faults": dict(post.faults),
            }
            for name, post in self._posts.items()
        ]

    def standings(self) -> str:
        """In one line where each device stands, and why it does not serve."""
        lines = {name: [post.standing.stage.value, post.reason] for name, post in self._posts.items()}
        return "; ".join(f"{name} {': '.join(filter(None, line))}" for name, line in lines.items())

    # Answers

    def _collect_from(self, post: Post, timeout_s: float) -> Inference | None:
        try:
            inference = post.device.collect(timeout_s)
        except EngineLostError as error:
            self._lose(post, error)
            return None
        except EngineOutputError as error:
            self._refuse(post, error)
            return None
        if inference is None:
            return None
        self._take_out(post, inference.task, inference.index)
        self._telemetry.add("tiles_on_first_device", post is self._order[inference.task][0])
        self._count_tile(post)
        return inference

    def _take_out(self, post: Post, task: Task | None, index: int) -> Call:
        """The call that ``post`` has answered is no longer outstanding."""
        for place, call in enumerate(self._calls):
            if call.post is post and call.tile.index == index and task in (None, call.task):
                return self._calls.pop(place)
        raise AssertionError((post.device.name, task, index))

    def _refuse(self, post: Post, error: EngineOutputError) -> None:
        call = self._take_out(post, None, error.index)
        call.refused_by.add(post.device.name)
        if all(other.device.name in call.refused_by for other in self._able(call.task)):
            raise error
        self._calls.insert(0, call)
        post.faults[WRONG] += 1
        self._demote(post, Signal.WRONG, str(error))

    def _able(self, task: Task) -> list[Post]:
        return [post for post in self._order[task] if post.standing.stage is not Stage.RETIRED]

    def _count_tile(self, post: Post) -> None:
        self._weigh(post)
        post.made["tiles"] += 1
        degc, resident_bytes = post.device.temperature_degc(), post.device.resident_bytes()
        post.standing, signal = failover.after_tile(post.standing, resident_bytes, degc, self._rules)
        self._feel(post, degc)
        if signal is not None:
            self._signal(post, signal)

    def _feel(self, post: Post, degc: float | None) -> None:
        """Remember whether the device is too hot; told once until it is cool."""
        was_hot, post.is_hot = post.is_hot, degc is not None and degc >= self._rules.hot_degc
        if degc is not None and post.is_hot:
            post.reason = f"too hot: {degc:g} degC"
        if degc is not None and post.is_hot and not was_hot:
            post.faults[HOT] += 1
            self._telemetry.event("engine_hot", device=post.device.name, temperature_degc=degc)

    def _weigh(self, post: Post) -> None:
        post.peak_bytes = max(post.peak_bytes, post.device.resident_bytes())
        total = sum(other.device.resident_bytes() for other in self._posts.values())
        self._telemetry.set("workers_bytes", total)

    # Devices

    def _now_s(self) -> float:
        return self._clock.mono_ns() * 1e-9

    def _glance_s(self) -> float:
        moving = (Stage.STARTING, Stage.PROBING)
        return _LOOK_S if any(p.standing.stage in moving for p in self._posts.values()) else _GLANCE_S

    def _look(self) -> None:
        """See to every device, then give the waiting tiles to those that serve."""
        for post in self._posts.values():
            self._look_at(post)
        for call in self._calls:
            if call.post is None:
                self._assign(call)
        for task, order in self._order.items():
            if all(post.standing.stage is Stage.RETIRED for post in order):
                raise EngineLostError(f"no device is left for {task.value}: {order[-1].reason}")

    def _look_at(self, post: Post) -> None:
        stage, is_empty = post.standing.stage, not self._held(post)
        try:
            if stage in (Stage.RESTING, Stage.COOLING):
                if self._now_s() >= post.standing.until_s and is_empty:
                    self._signal(post, Signal.RESTED)
            elif stage is Stage.STARTING:
                if post.device.is_ready():
                    self._weigh(post)
                    self._signal(post, Signal.READY)
            elif stage is Stage.PROBING:
                self._probe(post)
            elif stage is Stage.SERVING and post.is_due and is_empty:
                post.is_due, post.is_watched = False, True
                self._telemetry.add("weights_asked")
                has_answered = all(task in self._expected for task in post.tasks)
                self._signal(post, Signal.DUE if has_answered else Signal.WORN)
            elif stage is Stage.DRAINING and is_empty:
                post.made["recycled"] += 1
                self._telemetry.add("engine_recycles")
                self._signal(post, Signal.EMPTY)
        except EngineLostError as error:
            self._lose(post, error)
        except EngineOutputError as error:
            post.faults[WRONG] += 1
            self._demote(post, Signal.WRONG, str(error))

    def _held(self, post: Post) -> list[Call]:
        return [call for call in self._calls if call.post is post]

    def _assign(self, call: Call) -> None:
        for post in self._order[call.task]:
            is_free = post.standing.stage is Stage.SERVING and not post.is_due
            is_refused = post.device.name in call.refused_by
            if is_free and not is_refused and len(self._held(post)) < post.device.slots:
                try:
                    post.device.submit(call.task, call.tile)
                except EngineLostError as error:
                    self._lose(post, error)
                    continue
                call.post = post
                return

    def _lose(self, post: Post, error: EngineLostError) -> None:
        signal = failover.signal_of_loss(post.standing.stage, error.fault)
        post.faults[error.fault.value] += 1
        name = EVENT_OF_FAULT.get(error.fault)
        if name is None or post.made["promotions"]:
            self._demote(post, signal, str(error))
            return
        if post.told is not error.fault:
            post.told = error.fault
            self._telemetry.event(name, device=post.device.name, reason=str(error))
        post.reason = str(error)
        self._signal(post, signal)

    def _demote(self, post: Post, signal: Signal, reason: str) -> None:
        """The device serves no longer; what it held waits for the next."""
        held = self._held(post)
        for call in held:
            call.post = None
        post.is_probe_out = False
        post.reason = reason
        post.made["losses"] += 1
        self._telemetry.event("engine_demoted", device=post.device.name, reason=reason, tiles=len(held))
        self._telemetry.add("engine_losses")
        self._telemetry.add("tiles_redone", min(1, len(held)))
        self._signal(post, signal)
        if failover.is_broken(post.standing, self._rules):
            self._telemetry.event(
                "engine_breaker_open", device=post.device.name, duration_s=self._rules.breaker_rest_s
            )

    def _signal(self, post: Post, signal: Signal) -> None:
        before = post.standing.stage
        post.standing, step = failover.advance(post.standing, signal, self._now_s(), self._rules)
        if step is Step.STOP:
            post.is_probe_out = False
            post.device.stop()
        elif step is Step.START:
            try:
                post.device.start()
            except EngineLostError as error:
                self._lose(post, error)
        elif step is Step.PROBE:
            post.probes = [task for task in post.tasks if post.is_watched or len(self._order[task]) > 1]
        if post.standing.stage is Stage.SERVING and before is not Stage.SERVING:
            post.told, post.reason = None, ""
            post.made["promotions"] += 1
            self._telemetry.event("engine_promoted", device=post.device.name)

    # Known answers

    def _is_coming(self, reference: Post) -> bool:
        """Whether it will answer soon, or not (rule 7)."""
        is_resting = failover.is_broken(reference.standing, self._rules)
        return reference.standing.stage is not Stage.RETIRED and not is_resting

    def _probe(self, post: Post) -> None:
        """One step of the probe: ask, or look whether it has answered."""
        if not post.probes:
            self._signal(post, Signal.RIGHT)
            return
        task = post.probes[0]
        reference = self._order[task][-1]
        if task not in self._expected and post is not reference and self._is_coming(reference):
            post.reason = f"waits for {reference.device.name}, the reference"
            return
        if not post.is_probe_out:
            post.device.submit(task, probe_tile(self._tiles))
            post.is_probe_out = True
            return
        answer = post.device.collect(0.0)
        if answer is None:
            return
        post.is_probe_out = False
        sample = sample_of(task, answer.output)
        if post is reference and task not in self._expected:
            self._expected[task] = sample
            for other in self._order[task]:
                other.is_due |= task in other.alone
        expected = self._expected.get(task)
        if expected is None:
            if not post.alone:
                self._telemetry.event("engine_alone", device=post.device.name, reason=reference.reason)
            post.alone.add(task)
        else:
            post.alone.discard(task)
            found = disagreement(task, expected, sample)
            if not found.is_within(_EXACT if post is reference else post.link.permitted[task]):
                post.faults[WRONG] += 1
                self._demote(
                    post, Signal.WRONG, f"{post.device.name}: the known tile came back wrong: {found}"
                )
                return
        post.probes.pop(0)
        self._feel(post, post.device.temperature_degc())
        if post.is_hot:
            self._signal(post, Signal.HOT)
