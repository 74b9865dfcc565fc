"""What no order of sending can beat: the clairvoyant linear programme, and for whole products its
integer form (both by HiGHS, https://highs.dev)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array

from payload.core.pass_plan import LAYER_OF_KIND, aged
from tools.downlink.instances import Instance

MILP_GAP = 1e-4


def _problem(instance: Instance) -> tuple[np.ndarray, coo_array, np.ndarray]:
    """Costs (negative values), constraints and their bounds, over pairs (product, pass)."""
    pairs, costs = [], []
    for number, entry in enumerate(instance.entries):
        for place, slot in enumerate(instance.passes):
            if entry.created_utc_ns <= slot.start_utc_ns:
                pairs.append((number, place))
                costs.append(-aged(entry, slot.start_utc_ns, instance.ageing).value)
    column = {pair: index for index, pair in enumerate(pairs)}
    rows: list[tuple[int, int, float]] = []
    limits: list[float] = []
    for number in range(len(instance.entries)):  # each once
        rows += [
            (len(limits), column[number, p], 1.0)
            for p in range(len(instance.passes))
            if (number, p) in column
        ]
        limits.append(1.0)
    for place, slot in enumerate(instance.passes):  # a pass carries so much
        rows += [
            (len(limits), index, instance.entries[number].size_bytes / slot.capacity_bytes)
            for (number, p), index in column.items()
            if p == place
        ]
        limits.append(1.0)
    for before, after in _precedences(instance):
        for last in range(len(instance.passes)):
            until = range(last + 1)
            rows += [(len(limits), column[after, p], 1.0) for p in until if (after, p) in column]
            rows += [(len(limits), column[before, p], -1.0) for p in until if (before, p) in column]
            limits.append(0.0)
    of_row, of_column, factors = zip(*rows, strict=True)
    matrix = coo_array((factors, (of_row, of_column)), shape=(len(limits), len(pairs)))
    return np.array(costs), matrix, np.array(limits)


def _precedences(instance: Instance) -> list[tuple[int, int]]:
    """Neighbouring layers of one tile; where each layer is one product."""
    tiles: dict[str, list[int]] = {}
    for number, entry in enumerate(instance.entries):
        tiles.setdefault(entry.product_id.rpartition(".")[0], []).append(number)
    found = []
    for numbers in tiles.values():
        numbers.sort(key=lambda number: LAYER_OF_KIND[instance.entries[number].kind])
        for before, after in pairwise(numbers):
            if LAYER_OF_KIND[instance.entries[before].kind] != LAYER_OF_KIND[instance.entries[after].kind]:
                found.append((before, after))
    return found


@contextmanager
def _silent() -> Iterator[None]:
    """HiGHS 1.x writes a line of its own to standard output now and then, whatever its options."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def linear_bound(instance: Instance) -> float:
    """The greatest value if products could be cut: valid for whole and for resumed products."""
    costs, matrix, limits = _problem(instance)
    found = linprog(costs, A_ub=matrix.tocsr(), b_ub=limits, bounds=(0, 1), method="highs")
    assert found.success, found.message
    return float(-found.fun)


def integer_bound(instance: Instance, limit_s: float = 20.0) -> float:
    """The greatest value of whole products; if time runs out the proven bound, which is above it."""
    costs, matrix, limits = _problem(instance)
    with _silent():
        found = milp(
            costs,
            constraints=LinearConstraint(matrix.tocsr(), -np.inf, limits),
            bounds=Bounds(0, 1),
            integrality=np.ones(len(costs)),
            options={"mip_rel_gap": MILP_GAP, "time_limit": limit_s},
        )
    return float(-found.mip_dual_bound)
