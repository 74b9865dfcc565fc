"""Rules of `payload.core.arithmetic`; what it solves is tested with `core.surface`."""

from __future__ import annotations

import numpy as np

from payload.core.arithmetic import NumpyArithmetic
from payload.core.radiometry import code_table


def test_encode_is_the_table_everywhere() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 65536, (4, 37, 53)).astype(np.uint16)
    out = np.zeros((4, 40, 60), dtype=np.uint8)[:, :37, :53]
    NumpyArithmetic().encode(counts, out)
    np.testing.assert_array_equal(out, code_table()[counts])
