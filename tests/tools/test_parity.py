"""What is not there is not what is beyond its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openvino")

from tools import parity


@pytest.mark.parametrize("words", [["nowhere"], ["models/scene_s2_v7", "--shared", "nowhere"]])
def test_a_missing_model_or_missing_patches_are_not_taken_for_a_target_beyond_its_bounds(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (Path("models") / "scene_s2_v7").is_dir()
    with pytest.raises(SystemExit) as refusal:
        parity.main(words)
    assert refusal.value.code not in (0, parity.BEYOND)
    assert "nowhere" in capsys.readouterr().err
