"""The rules of core.known_answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.known_answer import compare, read_known_answers, write_known_answers
from payload.core.refusals import Refusal
from payload.errors import InstallError
from payload.types import Grid, Task
from tests.packages import echo_scores, known_answers

KNOWN = known_answers(tiles=2)
ANSWERS = [echo_scores(tile.codes) for tile in KNOWN.tiles]
CONTENT = write_known_answers(KNOWN)


def test_known_answers_come_back_as_they_were_written() -> None:
    back = read_known_answers(CONTENT, Task.SCENE)
    assert write_known_answers(back) == CONTENT
    for tile, other in zip(back.tiles, KNOWN.tiles, strict=True):
        for grid in Grid:
            np.testing.assert_array_equal(tile.codes[grid], other.codes[grid])


def test_the_expected_answers_agree_with_themselves() -> None:
    found = compare(read_known_answers(CONTENT, Task.SCENE), ANSWERS, 0.0)
    assert (found.largest, found.ratio) == (0.0, 0.0)


@given(st.integers(1, 20), st.integers(0, 64))
def test_rule_1_the_share_beyond_the_tolerance_is_counted(step: int, changed: int) -> None:
    answers = [answer.copy() for answer in ANSWERS]
    kept = answers[0][0, ::6, ::6]
    flat = kept.ravel()
    flat[:changed] = np.where(flat[:changed] < 128, flat[:changed] + step, flat[:changed] - step)
    answers[0][0, ::6, ::6] = flat.reshape(kept.shape)
    found = compare(KNOWN, answers, step - 1)
    assert found.ratio == changed / sum(samples.size for samples in KNOWN.samples)
    assert compare(KNOWN, answers, step).ratio == 0


def test_rule_2_another_shape_or_type_never_passes() -> None:
    for wrong in (ANSWERS[0][:, :24], ANSWERS[0].astype(np.float32)):
        with pytest.raises(InstallError) as refused:
            compare(KNOWN, [wrong, ANSWERS[1]], 255.0)
        assert refused.value.code == Refusal.WRONG_ANSWER


def test_a_number_that_is_none_lies_within_no_tolerance() -> None:
    wide = type(KNOWN)(Task.SURFACE, KNOWN.grid, 1, KNOWN.tiles[:1], (np.zeros((4, 12, 2, 2), np.float32),))
    answer = np.zeros((4, 12, 2, 2), np.float32)
    answer[0, 0, 0, 0] = np.nan
    assert compare(wide, [answer], 255.0).ratio == 1 / answer.size


@given(st.integers(0, len(CONTENT)), st.binary(max_size=20))
def test_a_file_of_another_length_or_header_is_malformed(cut: int, tail: bytes) -> None:
    damaged = CONTENT[:cut] + tail
    if len(damaged) == len(CONTENT) and damaged[:18] == CONTENT[:18]:
        return
    with pytest.raises(InstallError) as refused:
        read_known_answers(damaged, Task.SCENE)
    assert refused.value.code == Refusal.MALFORMED
