"""The compiled formulas beside those of numpy, which say what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from payload.core.arithmetic import NumpyArithmetic
from payload.core.radiometry import FULL_SCALE_REFLECTANCE, code_table
from payload.drivers.arithmetic_openvino import OpenVinoArithmetic

COLUMNS_OF_CELL = {24: 300, 12: 150, 4: 50}


@pytest.fixture(scope="module")
def compiled() -> OpenVinoArithmetic:
    return OpenVinoArithmetic(COLUMNS_OF_CELL, FULL_SCALE_REFLECTANCE)


def test_every_count_has_the_code_of_the_table(compiled: OpenVinoArithmetic) -> None:
    assert compiled.is_exact(code_table())


@pytest.mark.parametrize("count", [0, 1, 2440, 8840, 65535])
def test_one_code_that_differs_is_noticed(compiled: OpenVinoArithmetic, count: int) -> None:
    table = code_table()
    table[count] ^= 1
    assert not compiled.is_exact(table)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 37, 53), (2, 3, 40000), (3, 500, 300)])
def test_codes_are_those_of_numpy_in_any_shape(compiled: OpenVinoArithmetic, shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(2).integers(0, 65536, shape).astype(np.uint16)
    found, expected = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    compiled.encode(counts, found)
    NumpyArithmetic().encode(counts, expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("cell", list(COLUMNS_OF_CELL))
@pytest.mark.parametrize("cell_rows", [1, 4, 9])
def test_surface_is_within_one_count_of_numpy(
    compiled: OpenVinoArithmetic, cell: int, cell_rows: int
) -> None:
    rng = np.random.default_rng(cell)
    rows, columns = cell_rows * cell - cell // 3, COLUMNS_OF_CELL[cell] - 5
    counts = rng.integers(0, 65536, (3, rows, columns)).astype(np.uint16)
    counts[:, : cell // 2, :7] = 0
    cells = (3, cell_rows + 2, columns)
    gain, shift, albedo = (rng.uniform(*r, cells) for r in ((1, 2.5), (1000, 3000), (0, 3e-5)))
    coefficients = np.stack([gain, shift, albedo]).astype(np.float32)
    found, expected = np.empty_like(counts), np.empty_like(counts)
    compiled.invert(counts, coefficients, cell, found)
    NumpyArithmetic().invert(counts, coefficients, cell, expected)
    assert np.abs(found.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(found == 0, counts == 0)
