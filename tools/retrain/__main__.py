"""Retrain the shipped scene network and bring it to the running payload, step by step:

    learn -> frozen scales -> old against new, and no further if it is not better
          -> pack, sign, delta -> uplink in two broken passes
          -> install, trial, confirmed -> bad ones: refused, and rolled back

    python -m tools.retrain [--out build/retrain] [--steps 300] [--samples 32]

The task is clouds over snow, which the shipped network tells apart worst. Everything is made again
from seeds, but the keys. What it measured stands in OUT/report.json. The samples are simulated, so
the scores say what changed for simulated ground, and nothing of real ground.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from payload.core.document import canonical
from payload.core.package import write_package
from payload.core.signed import PACKAGE_MAGIC, Root
from tools.networks.fine_tuning import FineTuning
from tools.networks.scores import CLASS_NAMES
from tools.package.deltas import describe_delta, make_delta, read_old
from tools.package.keys import make_key, root_file, sign
from tools.package.making import KNOWN_ANSWERS, add_signatures, describe, make_package, unpack
from tools.retrain.board import FlightBoard, engines_of
from tools.retrain.model import (
    GAIN_MIN,
    LOSS_MAX,
    TASK_BIOME,
    TEST_SEED,
    TRAIN_SEED,
    drawn,
    is_worth_sending,
    judged,
    mean_f1,
    retrain,
)
from tools.retrain.weights import spoil

STRIP = Path("strips/example/strip.yaml")
CONFIG = Path("firmware_configs/ci_cpu.yaml")
RATE_BIT_S = 64_000.0
TRIAL_TILES = 4


class Retraining:
    """One run of the whole way; each step prints what it did and leaves it in the report."""

    def __init__(self, out: Path) -> None:
        self.out = out
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.report: dict[str, Any] = {}
        self._began_s = time.monotonic()
        self.keys = [make_key(out / "keys" / f"{name}.key") for name in ("alice", "bob", "carol")]
        root = Root(1, 2, tuple(bytes(key.verify_key) for key in self.keys))
        (out / "keys" / "root.skr").write_bytes(root_file(root, self.keys))
        self.board = FlightBoard(out, CONFIG, TRIAL_TILES)
        self.old, self.new, self.bad = self.board.scene_folder, out / "new", out / "bad"

    def say(self, words: str) -> None:
        """One line with the time since the beginning."""
        print(f"[{time.monotonic() - self._began_s:6.1f} s] {words}", flush=True)

    def learn(self, samples: int, recipe: FineTuning) -> bool:
        """The new model folder; whether it is worth sending, by patches that it never saw."""
        self.say(f"simulating {samples} patches of {TASK_BIOME} and {samples} of any ground to learn from,")
        self.say(f"  and {samples} and {samples} others to be judged on")
        train, test = drawn(TRAIN_SEED, samples), drawn(TEST_SEED, samples)
        changed = retrain(self.old, self.new, [*train.task, *train.any], recipe)
        self.report["changed_weights"] = changed
        self.say(f"learnt {recipe.steps} steps; {changed} INT8 weights changed, scales frozen")
        grounds = {"task": test.task, "any": test.any}
        old, new = (
            {name: judged(folder, patches) for name, patches in grounds.items()}
            for folder in (self.old, self.new)
        )
        self.report["scores_simulated"] = {"old": old, "new": new}
        for ground, words in (("task", f"{TASK_BIOME}, the task"), ("any", "any ground")):
            pairs = (
                f"{name} {old[ground][name]['f1']:.3f} -> {new[ground][name]['f1']:.3f}"
                for name in CLASS_NAMES
            )
            means = f"{mean_f1(old[ground]):.3f} -> {mean_f1(new[ground]):.3f}"
            self.say(f"  F1 on unseen patches of {words}: mean {means} ({', '.join(pairs)})")
        self.report["is_worth_sending"] = is_worth_sending(old, new)
        return is_worth_sending(old, new)

    def pack(self) -> bytes:
        """The delta, made of a package that two of three keys have signed."""
        package = make_package(self.new, 1, STRIP, self.keys[:1])
        package = add_signatures(package, self.keys[1:2])
        (self.out / "new.skm").write_bytes(package)
        old = read_old(self.old)
        delta = make_delta(old, package)
        (self.out / "new.skd").write_bytes(delta)
        self.report |= {"package_bytes": len(package), "delta_bytes": len(delta)}
        self.say(f"packed, signed by two of three: delta of {describe_delta(old, unpack(package), delta)}")
        return delta

    def uplink(self, delta: bytes) -> Path:
        """The delta on board after two passes that are both cut off: by loss of signal, by its end."""
        whole_s = len(delta) * 8 / RATE_BIT_S
        found: list[Path] = []
        self.report["passes"] = []
        for number, pass_s in enumerate((0.55 * whole_s, 4 * whole_s + 10)):
            passed, received = self.board.receive_pass(delta, RATE_BIT_S, pass_s, number)
            found += received
            self.report["passes"].append(vars(passed))
            self.say(
                f"pass {number + 1} at {RATE_BIT_S:.0f} bit/s, 2 % lost: {passed.sent_bytes} bytes in "
                f"{passed.seconds:.1f} s, {passed.missing_bytes} bytes still missing"
            )
        assert found, "the second pass carries the rest"
        return found[0]

    def fly(self, update: Path) -> None:
        """Old model, new model on trial, new model confirmed: from strip to strip."""
        first = self.board.run(STRIP, "1_old")
        self.say(f"strip 1 by {list(engines_of(first))}")
        code, told = self.board.install(update)
        self.say(f"install: {told}")
        assert code == 0, told
        second = self.board.run(STRIP, "2_new")
        self.say(f"strip 2 by {list(engines_of(second))}")
        scene = self.board.scene()
        assert engines_of(first) != engines_of(second)
        assert scene["active"] == scene["last_good"] == "a"
        self.report["switched"] = {"before": engines_of(first), "after": engines_of(second)}

    def refuse(self) -> None:
        """Three bad ones: damaged, answering wrongly, and one that only the trial can tell."""
        good = (self.out / "new.skm").read_bytes()
        spoil(self.new, self.bad)
        bad = make_package(self.bad, 2, STRIP, self.keys[:2])
        damaged = bytearray(good)
        damaged[len(good) // 2] ^= 0x10
        wrong = self._with_answers_of(bad, good)
        self.report["refused"] = {}
        for name, content in (("damaged", bytes(damaged)), ("wrong_answers", wrong)):
            path = self.out / f"{name}.skm"
            path.write_bytes(content)
            code, told = self.board.install(path)
            assert code == 16, told
            self.report["refused"][name] = told
            self.say(f"{name}: exit {code}, {told}")
        path = self.out / "bad.skm"
        path.write_bytes(bad)
        code, told = self.board.install(path)
        assert code == 0, told
        third = self.board.run(STRIP, "3_rolled_back")
        scene = self.board.scene()
        assert third["events"]["model_reverted"] == 1
        assert (scene["active"], scene["rollback_index"]) == ("a", 1)
        assert third["tiles_done"] == third["tiles"]
        self.report["rolled_back"] = engines_of(third)
        self.say(
            f"bad.skm passed its own known answers, failed its trial; strip 3 by {list(engines_of(third))}"
        )

    def _with_answers_of(self, bad: bytes, good: bytes) -> bytes:
        """The bad package, signed, with the answers that the good network gives."""
        parts, honest = unpack(bad), unpack(good)
        names = [file.path for file in honest.manifest.files]
        answers = honest.files[names.index(KNOWN_ANSWERS)]
        document = json.loads(parts.document)
        document["update"]["known_answers"]["file"] = describe(KNOWN_ANSWERS, answers)
        signed = canonical(document)
        files = [
            answers if name == KNOWN_ANSWERS else file for name, file in zip(names, parts.files, strict=True)
        ]
        return write_package(signed, sign(self.keys[:2], PACKAGE_MAGIC, signed), files)

    def finish(self) -> None:
        """The table of the slots, and the report."""
        print(self.board.models())
        self.report["seconds"] = time.monotonic() - self._began_s
        (self.out / "report.json").write_text(json.dumps(self.report, indent=2) + "\n")
        self.say(f"report: {self.out / 'report.json'}")


def main() -> int:
    """The whole way; 0 if everything came out as it should, 1 if the new network is not worth sending."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.retrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("build/retrain"), metavar="DIR")
    parser.add_argument(
        "--steps", type=int, default=FineTuning().steps, metavar="N", help="of learning (240)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=32,
        metavar="N",
        help="patches of each kind to learn from, and to judge",
    )
    asked = parser.parse_args()
    way = Retraining(asked.out)
    if not way.learn(asked.samples, replace(FineTuning(), steps=asked.steps)):
        way.say(
            f"not sent: it must gain {GAIN_MIN} of mean F1 at its task and lose at most {LOSS_MAX} elsewhere"
        )
        way.finish()
        return 1
    way.fly(way.uplink(way.pack()))
    way.refuse()
    way.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
