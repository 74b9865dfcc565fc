"""Bench files: those that are shipped can be used, and a wrong one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil_tests.bench import BenchError, read_bench

BENCHES = Path(__file__).resolve().parents[1] / "hil_tests" / "benches"
BOARD = "board: {shell: sh -c, folder: ., payload: payload, config: c.yaml, out: o}\n"


@pytest.mark.parametrize("path", sorted(BENCHES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_bench_can_be_used(path: Path) -> None:
    assert "board" in read_bench(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vpu: {device: myriad}\n", "at least the role board"),
        (BOARD + "gpu: {device: x}\n", "no role 'gpu'"),
        (BOARD + "vpu_power: {cut: a}\n", "vpu_power must have the keys cut, restore"),
        (BOARD + "vpu: 7\n", "vpu must have the keys device"),
        ("[", "cannot be read"),
        ("\xff\xfe", "cannot be read"),
        (BOARD.replace("sh -c", "5"), "board: shell must be a text, and is 5"),
        (BOARD + 'board_power: {cut: a, restore: b, boot_s: "60"}', "boot_s must be a number, and is '60'"),
    ],
)
def test_a_wrong_bench_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bench.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BenchError, match=told) as refusal:
        read_bench(path)
    assert "\n" not in str(refusal.value)
