"""Every board's configuration against every model: it loads, fits, and plans a whole granule."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from payload.assembly import load_areas, load_models, plan_strip
from payload.config import load_config
from payload.core.areas import FILE_BYTES_MAX
from payload.core.manifest import check_artifact, check_model_fits, parse_manifest
from payload.drivers.model_folder import read_files
from payload.errors import BudgetError, ConfigError
from payload.types import Task
from tests.core.strip_in_memory import ArraySource, strip_info

REPOSITORY = Path(__file__).resolve().parents[1]
BOARDS = sorted((REPOSITORY / "firmware_configs").glob("*.yaml"))
MODELS = sorted(path.parent for path in (REPOSITORY / "models").glob("*/manifest.json"))
GRANULE_PX = 10980
MIB = 1 << 20


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_board_plans_a_whole_granule_within_its_own_budget(board: Path) -> None:
    config = load_config(board)
    models, tiles = load_models(config)
    plan = plan_strip(config, ArraySource(strip_info(GRANULE_PX, GRANULE_PX), {}), models, tiles)
    assert plan.total_bytes <= config.memory.budget_bytes <= config.board.memory_bytes
    assert config.engine.threads <= config.board.cores


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_board_works_at_256_mib_and_refuses_64(board: Path) -> None:
    config = load_config(board)
    models, tiles = load_models(config)
    source = ArraySource(strip_info(GRANULE_PX, GRANULE_PX), {})
    enough = replace(config, memory=replace(config.memory, budget_bytes=256 * MIB))
    assert plan_strip(enough, source, models, tiles).slots >= 1
    with pytest.raises(BudgetError):
        plan_strip(
            replace(config, memory=replace(config.memory, budget_bytes=64 * MIB)), source, models, tiles
        )


def test_tiles_that_no_network_of_a_board_serves_are_refused_by_the_plan() -> None:
    config = load_config(next(board for board in BOARDS if board.stem == "small"))
    wider = replace(config, tiles=replace(config.tiles, inner_columns_px=576))
    models, tiles = load_models(wider)
    with pytest.raises(ConfigError, match="has nothing for tflite and windows of 288x720 px"):
        plan_strip(wider, ArraySource(strip_info(480, 720), {}), models, tiles)


@pytest.mark.parametrize(
    ("board", "folder"),
    list(product(BOARDS, MODELS)),
    ids=lambda path: path.stem if path.suffix else path.name,
)
def test_every_model_fits_every_board_for_its_own_task_and_for_no_other(board: Path, folder: Path) -> None:
    config = load_config(board)
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    _, tiles = load_models(config)
    target = config.engine.reference_target(manifest.task)
    artifact = check_model_fits(manifest, manifest.task, tiles, target)
    sizes = {file.path: file.size_bytes for file in artifact.files}
    check_artifact(artifact, read_files(folder, sizes))
    other = next(task for task in Task if task is not manifest.task)
    with pytest.raises(ConfigError):
        check_model_fits(manifest, other, tiles, target)


def test_areas_are_read_from_a_file_larger_than_a_configuration_and_not_from_any(tmp_path: Path) -> None:
    path = tmp_path / "areas.json"
    board = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
    config = replace(board, interest=replace(board.interest, areas=str(path)))
    ring = [[0, 0], *([n / 19_000, 1 + n % 2] for n in range(19_000)), [1, 0], [0, 0]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    text = json.dumps({"type": "Feature", "properties": {"weight": 2}, "geometry": shape}, indent=1)
    path.write_text(text)
    assert len(load_areas(config).areas[0].rings[0]) == len(ring)
    path.write_text(text.ljust(FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match=r"areas\.json: larger than 2097152 bytes"):
        load_areas(config)
