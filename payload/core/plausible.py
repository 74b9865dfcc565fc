"""Whether a tile's answer can be that of a working network: what a model on trial is judged by.

Rules:
1. Scene: the best class must lead the second by a mean of at least LEAD_STEPS score steps, and
   not every pixel of a varied tile may have the same scores. A network that has lost its
   weights answers noise around zero or one constant.
2. Surface: at most FOREIGN_RATIO of the values lie outside what an atmosphere can be: path
   reflectance 0 to 1, transmittance 0 to 1, spherical albedo 0 to 1 (1 excluded), deviation
   of the reflectance 0 to 1; none is no number.
3. Nothing is asked of the content: cloud everywhere is weather.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import U8, Task

LEAD_STEPS = 4.0
"""0.19 of a logit: the shipped networks lead by 40 steps and more on the strips of the repository."""

FOREIGN_RATIO = 0.01

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
