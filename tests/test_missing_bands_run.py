"""A whole run of an instrument that has lost a band."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from payload.core import products
from payload.core.products import Content
from payload.drivers.product_store import SqliteProductStore
from payload.types import Band
from tests.test_commands import CONFIG, REPOSITORY, STRIP, payload, refused
from tests.test_kill_run import bodies


def board(folder: Path, lost: str) -> Path:
    text = CONFIG.read_text().replace(": ../", f": {REPOSITORY}/")
    config = folder / "board.yaml"
    config.write_text(text.replace("block_rows_px: 6", f"block_rows_px: 6{lost}"))
    return config


def found(folder: Path, lost: str) -> dict[str, products.DecodedProduct]:
    folder.mkdir()
    config = board(folder, lost)
    done = payload("run", STRIP, "--config", config, "--out", folder)
    assert done.returncode == 0, done.stderr
    store = SqliteProductStore(folder / "queue.sqlite")
    decoded = {name: products.decode(body) for name, body in bodies(store).items()}
    store.close()
    return decoded


def test_without_b11_most_is_classified_alike_and_b11_alone_is_no_data(tmp_path: Path) -> None:
    whole = found(tmp_path / "whole", "")
    without = found(tmp_path / "without", "\n  missing_bands: [b11]")
    assert whole.keys() == without.keys()
    for name, product in without.items():
        planes = zip(product.container.planes, product.planes, whole[name].planes, strict=False)
        for header, plane, known in planes:
            if header.content is Content.CLASS:
                assert (plane == known).mean() > 0.75
            if header.content is Content.SURFACE:
                assert bool(plane.any()) == (header.band is not Band.B11)
                seen = (plane > 0) & (known > 0)
                if header.band is Band.B8A:
                    assert np.abs(plane[seen].astype(int) - known[seen]).mean() < 200


def test_a_strip_that_was_begun_with_all_bands_does_not_go_on_without_one(tmp_path: Path) -> None:
    assert payload("run", STRIP, "--config", board(tmp_path, ""), "--out", tmp_path).returncode == 0
    lost = board(tmp_path, "\n  missing_bands: [b11]")
    refused(payload("run", STRIP, "--config", lost, "--out", tmp_path), 4, "another configuration")
