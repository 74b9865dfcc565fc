"""Whether a tile's answer can be that of a working network: what a model on trial is judged by.

Rules:
1. Scene: the best class must lead the second by a mean of at least LEAD_STEPS score steps, and
   not every pixel of a varied tile may have the same scores. A network that has lost its
   weights answers noise around zero or one constant.
2. Surface: at most FOREIGN_RATIO of the values lie outside what an atmosphere can be: path
   reflectance 0 to 1, transmittance 0 to 1, spherical albedo 0 to 1 (1 excluded), deviation
   of the reflectance 0 to 1; none is no number.
3. Nothing is asked of the content: cloud everywhere is weather.
4. Beside the factory's: the surface reflectance that two networks make of the same known tiles
   may lie apart by SURFACE_DIFFERENCE_MAX_DN, the median over all bands of the mean absolute
   difference. That sees a network that answers a plausible atmosphere whatever it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.core.probe import reflectance_errors_dn
from payload.types import F32, U8, Task

LEAD_STEPS = 4.0
"""0.19 of a logit: the shipped networks lead by 40 steps and more on the strips of the repository."""

FOREIGN_RATIO = 0.01

SURFACE_DIFFERENCE_MAX_DN = 200.0
"""0.02 of reflectance. On the known tiles surface_s2_v5 lies 2 to 75 dn from versions 4 to 1, the
first of which knew much less, and 441 dn from itself with every INT8 weight zero. A median, because
B09 alone hangs on water vapour and moved by up to 3000 dn between versions."""

_LOOKED_AT_PX = 16
"""Every so many pixels each way: a thousandth of the tile's time."""


def is_plausible(task: Task, output: NDArray[Any], codes: U8) -> bool:
    """Whether ``output`` (`payload.types.Inference`) can be right for the 10 m codes of its tile."""
    if task is Task.SURFACE:
        return _is_atmosphere(output)
    looked_at = output[:, ::_LOOKED_AT_PX, ::_LOOKED_AT_PX].astype(np.int16)
    ordered = np.sort(looked_at.reshape(looked_at.shape[0], -1), axis=0)
    has_data = codes[0, :1, ::_LOOKED_AT_PX, ::_LOOKED_AT_PX].reshape(-1) > 0
    if has_data.sum() < 2:
        return True
    lead = (ordered[-1] - ordered[-2])[has_data]
    seen = looked_at.reshape(looked_at.shape[0], -1)[:, has_data]
    varied = np.ptp(codes[0, 0, ::_LOOKED_AT_PX, ::_LOOKED_AT_PX].reshape(-1)[has_data]) > LEAD_STEPS
    is_constant = bool((seen == seen[:, :1]).all())
    return float(lead.mean()) >= LEAD_STEPS and not (varied and is_constant)


def _is_atmosphere(output: NDArray[Any]) -> bool:
    if not np.isfinite(output).all():
        return False
    path, transmittance, albedo, sigma = output
    foreign = sum(int(np.count_nonzero((part < 0) | (part > 1))) for part in (path, transmittance, sigma))
    foreign += int(np.count_nonzero((albedo < 0) | (albedo >= 1)))
    return foreign <= FOREIGN_RATIO * output.size


def surface_difference_dn(expected: Sequence[F32], answered: Sequence[F32]) -> float:
    """How far the surface reflectance of two networks lies apart, over the atmospheres that they
    answered to the same tiles (rule 4); not finite where an answer is not."""
    errors = [reflectance_errors_dn(one, other) for one, other in zip(expected, answered, strict=True)]
    return float(np.median(np.mean(errors, axis=0)))
