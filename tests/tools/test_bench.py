"""The benchmark's own rules, and the mosaic that it runs on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.config import load_config
from payload.drivers.product_store import SqliteProductStore
from payload.types import (
    BANDS_OF_GRID,
    COUNTS_OFFSET,
    Grid,
    Product,
    ProductKind,
    QueueEntry,
    SceneStats,
    TileRecord,
    Window,
)
from tools.bench import memory, own_rows
from tools.bench.campaign import TileCounts, tiles_of
from tools.bench.machine import describe_machine
from tools.bench.processes import REPOSITORY, ChildError, run_python
from tools.bench.table import EXTRA, HEADLINE, Sample, format_table, make_ratios, make_rows, to_document
from tools.bench.timing import Cost, mean_cost, own_peak_bytes
from tools.mosaic import (
    PATCH_PX,
    NativePatch,
    Region,
    blocks,
    cover_ratio,
    lay_out,
    native_patch,
    real_patches,
)

SHARED = REPOSITORY.parent / "shared"
CI_CONFIG = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"


def samples_of(name: str, *cpu_s: float) -> list[Sample]:
    return [Sample(name, cpu, 2 * cpu, 100 << 20, 1.0) for cpu in cpu_s]


def test_a_row_is_the_median_of_its_rounds() -> None:
    (row,) = make_rows(samples_of("skysift_raw", 9.0, 30.0, 10.0))
    assert (row.cpu_s_full_tile, row.wall_s_full_tile, row.rounds) == (10.0, 20.0, 3)
    assert row.cpu_s_spread == 21.0


def test_rows_stand_in_the_order_of_the_table_and_what_was_not_measured_is_missing() -> None:
    rows = make_rows(samples_of("skysift_networks_only", 9.0) + samples_of("dtacsnet_torch_fp32", 200.0))
    assert [row.name for row in rows] == ["dtacsnet_torch_fp32", "skysift_networks_only"]
    assert make_ratios(rows) == []


@pytest.mark.parametrize(
    ("ours_s", "is_met", "is_aim_met"), [(5.0, True, True), (10.0, True, False), (14.0, False, False)]
)
def test_a_ratio_is_taken_between_medians_of_processor_time(
    ours_s: float, is_met: bool, is_aim_met: bool
) -> None:
    rows = make_rows(samples_of("dtacsnet_torch_fp32", 150.0) + samples_of("skysift_raw", ours_s))
    (ratio,) = make_ratios(rows)
    assert ratio.value == pytest.approx(150.0 / ours_s)
    assert (ratio.is_met, ratio.is_aim_met) == (is_met, is_aim_met)


def test_a_goal_that_was_missed_is_printed_as_missed() -> None:
    rows = make_rows(samples_of("skysift_networks_only", 10.0) + samples_of("skysift_raw", 14.0))
    assert "1.40   must <= 1.3: MISSED" in format_table(rows, make_ratios(rows), [])
    rows = make_rows(samples_of("skysift_networks_only", 10.0) + samples_of("skysift_raw", 12.0))
    assert "1.20   must <= 1.3: met; aim <= 1.15: not met" in format_table(rows, make_ratios(rows), [])


def test_the_document_names_the_five_rows_and_their_columns() -> None:
    rows = make_rows([sample for name in HEADLINE for sample in samples_of(name, 1.0)])
    document = json.loads(json.dumps(to_document(rows, make_ratios(rows), {"machine": describe_machine()})))
    assert [row["name"] for row in document["rows"]] == [
        "dtacsnet_torch_fp32",
        "dtacsnet_openvino_int8",
        "skysift_raw",
        "skysift_jp2",
        "skysift_networks_only",
    ]
    for row in document["rows"]:
        assert {"cpu_s_full_tile", "wall_s_full_tile", "peak_bytes"} <= row.keys()
    assert document["machine"]["processor"]
    assert document["machine"]["versions"]["numpy"] == np.__version__


def product(number: int, body: bytes) -> tuple[QueueEntry, Product]:
    name = f"S/{number}"
    entry = QueueEntry(number, name, ProductKind.CLASSES, len(body), 1.0, 0, "why")
    return entry, Product(name, "S", ProductKind.CLASSES, number, Window(0, 0, 6, 6), 1.0, "why", 0, body)


def store_of(path: Path, bodies: list[bytes]) -> Path:
    store = SqliteProductStore(path)
    stats = SceneStats(36, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
    store.begin_strip("S", "made alike")
    for number, body in enumerate(bodies, start=1):
        record = TileRecord("S", number, Window(0, 0, 6, 6), stats, {}, {}, {}, np.zeros((7, 1, 1), np.uint8))
        store.commit_tile(record, [product(number, body)], [])
    store.close()
    return path


def test_the_digest_of_the_products_tells_any_change_of_any_body(tmp_path: Path) -> None:
    one = memory.digest_of_products(store_of(tmp_path / "1.sqlite", [b"abc", b"def"]))
    assert one[0] == 2
    assert memory.digest_of_products(store_of(tmp_path / "2.sqlite", [b"abc", b"def"])) == one
    for number, other in enumerate(([b"abc", b"deg"], [b"def", b"abc"], [b"abcd", b"ef"], [b"abc"])):
        assert memory.digest_of_products(store_of(tmp_path / f"o{number}.sqlite", other)) != one


def budget_result(budget: int, planned: int, peak: int, sha: str) -> memory.BudgetResult:
    return memory.BudgetResult(budget, planned, peak, 1.0, 5, sha)


def test_the_memory_promise_is_broken_by_a_high_peak_or_another_output() -> None:
    good = [budget_result(200, 190, 180, "a"), budget_result(300, 290, 180, "a")]
    assert memory.is_promise_kept(good)
    assert "NO" not in memory.format_budgets(good, [])
    for bad in (
        budget_result(300, 290, 291, "a"),
        budget_result(300, 301, 180, "a"),
        budget_result(300, 290, 180, "b"),
    ):
        assert not memory.is_promise_kept([good[0], bad])
        assert "NO" in memory.format_budgets([good[0], bad], [])


def test_a_refused_budget_is_shown_and_breaks_nothing() -> None:
    refusal = memory.Refusal(64 << 20, "the plan needs 200 MiB")
    shown = memory.format_budgets([budget_result(200, 190, 180, "a")], [refusal])
    assert "64  the plan needs 200 MiB" in shown
    assert "NO" not in shown


def test_tiles_are_counted_over_all_engines_of_a_task() -> None:
    assert tiles_of({"engines": {"scene": {"a": 3, "b": 2}}}) == TileCounts(scene=5, surface=0)


def test_a_child_is_measured_from_outside() -> None:
    burn = "import time, json; b = bytearray(b'x') * (64 << 20)\nwhile time.process_time() < 0.3: pass\n"
    result = run_python(["-c", burn + "print(json.dumps({'a': 1}))"])
    assert result.answer == {"a": 1}
    assert result.cpu_s >= 0.3
    assert result.peak_bytes >= 64 << 20


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(ChildError, match="ended with 3:\nit broke") as error:
        run_python(["-c", "import sys; print('it broke', file=sys.stderr); sys.exit(3)"])
    assert error.value.exit_code == 3


def test_the_cost_of_work_counts_every_repetition_and_no_warm_up() -> None:
    calls = []
    cost = mean_cost(lambda: calls.append(1), repeats=5)
    assert len(calls) == 8
    assert 0 <= cost.cpu_s < 1
    assert Cost(1.0, 2.0).plus(Cost(0.5, 0.5)).times(2.0) == Cost(3.0, 5.0)


def test_the_peak_of_this_process_is_at_least_what_it_holds() -> None:
    held = np.ones(32 << 20, np.uint8)
    assert own_peak_bytes() > held.nbytes


def test_our_networks_and_the_inversion_run_on_the_windows_that_fly() -> None:
    costs = own_rows.network_cost(load_config(CI_CONFIG), repeats=1, with_halo=True)
    assert costs.keys() == {"scene", "surface", "inversion"}
    assert all(cost.cpu_s > 0 for cost in costs.values())


needs_bench_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "segmentation_models_pytorch", "nncf")),
    reason="the bench extra is not installed",
)


@needs_bench_extra
def test_the_peers_networks_have_the_published_size() -> None:
    child = "import json; from tools.bench.dtacsnet import build_networks; s, c = build_networks();"
    child += "print(json.dumps({'n': [sum(p.numel() for p in m.parameters()) for m in (s, c)]}))"
    assert run_python(["-c", child]).answer["n"] == [6_632_260, 1_364]


@pytest.mark.slow
@needs_bench_extra
def test_a_quick_run_fills_every_row_of_the_table(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    run = [sys.executable, "-m", "tools.bench", "--quick", "--folder", str(tmp_path), "--out", str(out)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in document["rows"]] == [*HEADLINE, *EXTRA]
    assert all(row["cpu_s_full_tile"] > 0 and row["peak_bytes"] > 0 for row in document["rows"])
    assert document["tiles"]["scene"] > 0
    assert "dtacsnet_torch_fp32 / skysift_raw" in done.stdout


def made_up_patches() -> list[NativePatch]:
    rng = np.random.default_rng(0)
    patches = []
    for brightest in (900, 900, 900, 900, 8000, 8000, 8000, 8000):
        pixels = rng.integers(1, brightest, (13, PATCH_PX, PATCH_PX), dtype=np.uint16)
        pixels[10] //= 100 if brightest < 1000 else 1
        patches.append(native_patch(pixels))
    return patches


PATCHES = made_up_patches()


@settings(deadline=None, max_examples=15)
@given(rows=st.integers(1, 1500), columns=st.integers(1, 1500), seed=st.integers(0, 99))
def test_a_mosaic_has_the_grids_of_its_size_and_only_valid_pixels(rows: int, columns: int, seed: int) -> None:
    layout = lay_out(PATCHES, rows, columns, seed)
    for block in blocks(layout, rows, columns):
        for grid, bands in BANDS_OF_GRID.items():
            assert block.dn[grid].shape == (len(bands), -(-block.rows // grid), -(-columns // grid))
            assert block.dn[grid].min() >= COUNTS_OFFSET


@given(row_cells=st.integers(0, 60), row_count=st.integers(1, 120))
@settings(deadline=None, max_examples=15)
def test_a_mosaic_does_not_depend_on_how_its_rows_are_asked_for(row_cells: int, row_count: int) -> None:
    rows, columns = 504, 1100
    layout = lay_out(PATCHES, rows, columns, seed=3)
    whole = layout.rows(0, rows, columns)
    row = 6 * row_cells
    count = min(row_count, rows - row)
    for grid, samples in layout.rows(row, count, columns).items():
        np.testing.assert_array_equal(samples, whole[grid][:, row // grid : row // grid + samples.shape[1]])


def test_a_region_shows_its_patch_and_goes_on_as_its_mirror_image() -> None:
    for turns in range(4):
        region = Region(PATCHES[0], quarter_turns=turns, row_px=0, col_px=0)
        for grid in Grid:
            size = PATCH_PX // grid
            places = np.arange(2 * size)
            shown = region.samples(grid, places, places)
            np.testing.assert_array_equal(
                shown[:, :size, :size], np.rot90(PATCHES[0][grid], turns, axes=(1, 2))
            )
            np.testing.assert_array_equal(shown, shown[:, ::-1])
            np.testing.assert_array_equal(shown, shown[:, :, ::-1])


def test_about_half_of_a_large_mosaic_is_cloudy_and_cloudy_regions_lie_together() -> None:
    layout = lay_out(PATCHES, 7200, 7200, seed=1)
    cloudy = np.array([cover_ratio(region.patch) > 0.5 for region in layout.regions])[layout.number]
    assert 0.35 < float(cloudy.mean()) < 0.65
    beside = np.roll(cloudy, 120, axis=1)[:, 120:]  # one region to the right
    assert float((cloudy[:, 120:] == beside).mean()) > 0.55
    again = lay_out(PATCHES, 7200, 7200, seed=1)
    np.testing.assert_array_equal(layout.number, again.number)


def test_a_pixel_that_is_dark_in_some_bands_only_is_not_taken_for_no_data() -> None:
    pixels = np.zeros((13, PATCH_PX, PATCH_PX), np.uint16)
    pixels[1:4, :, 6:] = 500  # B10 and others 0; the first six columns have no data at all
    patch = native_patch(pixels)
    for samples in patch.values():
        empty = samples.shape[2] * 6 // PATCH_PX
        assert (samples[:, :, :empty] == 0).all()
        assert (samples[:, :, empty:] >= COUNTS_OFFSET).all()


@pytest.mark.skipif(not (SHARED / "data" / "l1c").is_dir(), reason="needs the shared real patches")
def test_real_patches_reach_from_clear_to_overcast() -> None:
    covers = [cover_ratio(patch) for patch in real_patches(SHARED)]
    assert min(covers) < 0.01
    assert max(covers) > 0.99
