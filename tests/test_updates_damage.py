"""A board with damaged files of the factory's or slots, or a trial that cannot run, images all the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from payload.config import Config, load_config
from payload.core.refusals import Refusal
from payload.core.signed import Root
from payload.core.slots import SlotName
from payload.core.telemetry import Telemetry
from payload.errors import InstallError, StoreError, TrustError
from payload.types import Task
from payload.updates import Updates
from tests.test_updating import REPOSITORY, SCENE, STRIP, Ground
from tools.package.keys import root_file


class Board(Ground):
    """A board with a factory of its own, whose files may be damaged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in (SCENE.name, "surface_s2_v5"):
            shutil.copytree(REPOSITORY / "models" / name, folder / "models" / name)
        text = self.config.read_text().replace(f"{REPOSITORY}/models/", f"{folder}/models/")
        self.config.write_text(text)
        self.loaded: Config = load_config(self.config)

    def updates(self, telemetry: Telemetry | None = None) -> Updates:
        return Updates(self.loaded, telemetry or Telemetry())

    def confirm(self) -> None:
        slots = self.updates().slots[Task.SCENE]
        while slots.record.is_trial:
            slots.tile_done(is_good=True)

    def run(self, name: str, *words: object) -> tuple[int, str]:
        done = self.payload("run", *(words or (STRIP,)), "--out", self.folder / name, "--json")
        return done.returncode, done.stdout or done.stderr


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def flown(board: Board) -> Board:
    """A board with an installed and confirmed scene model."""
    board.updates().install(board.package("good.skm", SCENE, 1))
    board.confirm()
    return board


def test_a_damaged_factory_manifest_stops_nobody_while_an_installed_model_is_whole(flown: Board) -> None:
    (flown.folder / "models" / SCENE.name / "manifest.json").write_text("{")
    code, said = flown.run("run")
    assert code == 0, said
    assert json.loads(said)["events"]["factory_damaged"] == 1
    rows = flown.payload("models")
    assert rows.returncode == 0, rows.stderr
    assert "damaged" in rows.stdout
    telemetry = Telemetry()
    flown.updates(telemetry).install(flown.package("next.skm", SCENE, 2))
    assert telemetry.counts["model_activated"] == 1


def test_a_damaged_factory_root_counts_as_none_where_an_installed_one_is_whole(board: Board) -> None:
    keys = tuple(bytes(key.verify_key) for key in board.keys)
    second = board.folder / "second.skr"
    second.write_bytes(root_file(Root(2, 2, keys), board.keys))
    board.updates().install(second)
    factory = board.folder / "root.skr"
    factory.write_bytes(factory.read_bytes()[:-3])
    telemetry = Telemetry()
    found = board.updates(telemetry).root()
    assert found is not None
    assert found.version == 2
    assert telemetry.counts["factory_damaged"] == 1
    for copy in (0, 1):
        (board.folder / "slots" / f"root.{copy}").unlink()
    with pytest.raises(InstallError, match=str(factory)):
        board.updates().root()


def test_a_root_file_without_a_root_on_board_is_refused_by_its_number(board: Board) -> None:
    root = board.folder / "root.skr"
    root.rename(board.folder / "other.skr")
    with pytest.raises(InstallError) as refused:
        board.updates().install(board.folder / "other.skr")
    assert refused.value.code == Refusal.NO_ROOT


def test_what_is_no_regular_file_is_not_waited_for(board: Board) -> None:
    fifo = board.folder / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(StoreError, match="no regular file"):
        board.updates().install(fifo)


def damage(board: Board, slot: str) -> None:
    for copy in (0, 1):
        path = board.folder / "slots" / f"scene.{slot}.{copy}"
        content = bytearray(path.read_bytes())
        content[9999] ^= 1
        path.write_bytes(content)


def test_a_round_of_checks_says_that_a_slot_is_lost(flown: Board) -> None:
    damage(flown, "a")
    done = flown.payload("models", "--scrub")
    assert done.returncode == TrustError.exit_code
    assert "slot a of scene" in done.stderr
    assert flown.models()["tasks"]["scene"]["active"] == "factory"


def test_the_plan_is_of_the_model_that_a_run_would_take(flown: Board) -> None:
    damage(flown, "a")
    done = flown.payload("plan", STRIP)
    assert done.returncode == 0, done.stderr
    assert flown.models()["tasks"]["scene"]["active"] == "a", "and nothing was written"


def test_a_start_counts_only_where_a_strip_is_there(flown: Board) -> None:
    flown.updates().install(flown.package("next.skm", SCENE, 2))
    code, _ = flown.run("run", flown.folder / "none.yaml")
    assert code != 0
    assert flown.models()["tasks"]["scene"]["trial_boots"] == 0


def fat(board: Board) -> Path:
    """The scene model, said to need more memory than the board has beside a strip."""
    folder = board.folder / "fat"
    shutil.copytree(SCENE, folder)
    document = json.loads((folder / "manifest.json").read_text())
    for artifact in document["artifacts"]:
        artifact["host_fixed_bytes"] = 350 << 20
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


def test_a_model_for_which_no_strip_has_room_is_refused(board: Board) -> None:
    with pytest.raises(InstallError) as refused:
        board.updates().install(board.package("fat.skm", fat(board), 1))
    assert refused.value.code == Refusal.DOES_NOT_FIT


def test_a_model_on_trial_that_cannot_be_planned_is_given_up_and_the_strip_made(
    flown: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = flown.updates()
    monkeypatch.setattr(Updates, "_fits", lambda _self, _model: None)
    updates.install(flown.package("fat.skm", fat(flown), 2))
    code, said = flown.run("run")
    assert code == 0, said
    assert json.loads(said)["events"]["model_reverted"] == 1
    assert flown.models()["tasks"]["scene"]["active"] == "a"


def test_a_trial_is_not_given_up_for_a_strip_that_has_no_room_with_the_last_good_model_either(
    flown: Board,
) -> None:
    flown.updates().install(flown.package("next.skm", SCENE, 2))
    code, _ = flown.run("run", STRIP, "--budget-bytes", 1 << 20)
    assert code == 3
    record = flown.updates().slots[Task.SCENE].record
    assert (record.active, record.is_trial, record.trial_boots) == (SlotName.B, True, 0)


def test_with_slots_that_take_nothing_the_last_good_model_images_the_strip(flown: Board) -> None:
    flown.updates().install(flown.package("next.skm", SCENE, 2))
    for name in ("scene.record.0", "scene.record.1"):
        (flown.folder / "slots" / f"{name}.part").mkdir()
    code, said = flown.run("run")
    assert code == 0, said
    assert json.loads(said)["events"]["record_not_kept"] == 1
    assert flown.updates().slots[Task.SCENE].record.is_trial
