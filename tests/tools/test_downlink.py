"""The downlink order against its bounds, on fewer instances than `make downlink` takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.downlink.bounds import integer_bound, linear_bound
from tools.downlink.instances import dense, half_cloudy, layered, lumpy, many_tiles
from tools.downlink.policies import OURS, first_come, play
from tools.downlink.study import FAMILIES, Row, promises, study, table


def rows(family: str, seeds: int) -> list[Row]:
    return [study(family, seed) for seed in range(seeds)]


@pytest.mark.parametrize("family", ["dense", "layered"])
def test_many_small_products_come_within_1_percent_of_the_linear_bound(family: str) -> None:
    found = rows(family, 4)
    assert min(row.ours for row in found) >= 0.99
    assert max(row.ours for row in found) <= 1 + 1e-6  # a bound is a bound
    assert sum(row.idle_bytes for row in found) == 0


def test_few_large_products_come_within_2_percent_of_the_integer_bound() -> None:
    found = rows("lumpy", 5)
    assert np.mean([row.ours for row in found]) >= 0.98
    assert max(row.ours for row in found) <= 1 + 1e-6
    assert sum(row.idle_bytes for row in found) == 0


def test_more_tiles_than_the_knapsack_has_rows_come_within_2_percent_of_the_linear_bound() -> None:
    found = rows("many tiles", 3)
    assert min(row.ours for row in found) >= 0.98
    assert max(row.ours for row in found) <= 1 + 1e-6
    assert sum(row.idle_bytes for row in found) == 0


def test_with_noisy_estimates_95_percent_of_the_bound_remain() -> None:
    for family in ("dense", "layered", "half cloudy"):
        assert np.mean([row.noisy for row in rows(family, 3)]) >= 0.95, family


def test_under_half_a_sky_of_cloud_first_come_first_served_brings_half_as_much() -> None:
    found = rows("half cloudy", 6)
    assert np.mean([row.ours / row.fifo for row in found]) >= 1.9
    assert all(row.ours > (row.filtered or 0) for row in found)


def test_the_integer_bound_is_never_above_the_linear_one() -> None:
    for seed in range(2):
        instance = lumpy(seed)
        assert integer_bound(instance) <= linear_bound(instance) * (1 + 1e-6)


@pytest.mark.parametrize("make", [dense, layered, lumpy, half_cloudy, many_tiles])
def test_an_instance_is_the_same_every_time(make: object) -> None:
    assert make(5) == make(5) != make(6)  # type: ignore[operator]


def test_playing_takes_no_more_than_a_pass_carries_and_counts_true_values() -> None:
    instance = dense(3)
    total = sum(slot.capacity_bytes for slot in instance.passes)
    for order in (OURS, first_come):
        assert play(instance, order).sent_bytes <= total
    assert play(instance, OURS, noise=1.0, seed=1).value < play(instance, OURS).value


def test_single_instances_that_miss_are_counted_and_those_where_nothing_could() -> None:
    lumpy_rows = [
        Row("lumpy", seed, ours, ours, 0.5, None, 0) for seed, ours in enumerate((0.979, 0.98, 1.0))
    ]
    cloudy = [
        Row("half cloudy", seed, ours, ours, fifo, 0.6, 0)
        for seed, (ours, fifo) in enumerate(((0.99, 0.5), (0.99, 0.522), (0.99, 0.53)))
    ]
    assert promises(lumpy_rows + cloudy) == (
        "lumpy: 2 of 3 reach 98% of the bound\n"
        "half cloudy: 1 of 3 bring 1.9 times what FIFO does; of the other 2, the bound itself does not in 1"
    )


def test_the_command_writes_figure_and_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs the extra 'downlink'")
    command = [sys.executable, "-m", "tools.downlink", "--seeds", "1", "--out", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("| instances |")
    assert (tmp_path / "downlink.png").read_bytes().startswith(b"\x89PNG")
    assert table([study(family, 0) for family in FAMILIES])
