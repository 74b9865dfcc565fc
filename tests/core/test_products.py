"""Rules of `payload.core.products`, its samples and its container."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from payload.core import products
from payload.core.products import Content, ProductLabel, ProductOrigin
from payload.core.products.samples import (
    Codec,
    decode_samples,
    encode_samples,
    gaps_of,
    hold_over,
    quantise,
    restore,
    step_of,
)
from payload.errors import ProductError
from payload.types import (
    BANDS_OF_GRID,
    SURFACE_BANDS_OF_GRID,
    Band,
    Georeference,
    Grid,
    ProductKind,
    SceneStats,
    Window,
)

ORIGIN = ProductOrigin(
    strip_id="S2A_19UDP_20170729",
    rows=480,
    columns=1000,
    start_utc_ns=1_501_340_000_000_000_001,
    line_period_s=0.00148,
    ground_sample_m=10.0,
    georeference=Georeference(32619, 399960.0, 5500020.0),
)
LABEL = ProductLabel(ORIGIN, 3, Window(240, 912, 100, 88), "0123456789abcdef")
STATS = SceneStats(8000, 800, 0.5, 0.25, 0.125, 0.125, 0.75)

EVERY_COUNT = np.arange(65536, dtype=np.uint16).reshape(256, 256)
U8_PLANES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))
U16_PLANES = hnp.arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def planes_of(grid: Grid, bands: int, seed: int = 1) -> np.ndarray:
    """Something like ground: smooth with noise, and a corner without data."""
    rows, cols = -(-LABEL.window.rows // grid), -(-LABEL.window.cols // grid)
    row, col = np.indices((rows, cols))
    smooth = 2000 + 10 * row + 5 * col + 200 * np.arange(bands)[:, None, None]
    counts = smooth + np.random.default_rng(seed).normal(0, 30, (bands, rows, cols))
    counts[:, : rows // 3, : cols // 4] = 0
    return np.rint(counts).astype(np.uint16)


def surface_body(grid: Grid = Grid.R20M, max_error_dn: int = 10) -> bytes:
    bands = len(SURFACE_BANDS_OF_GRID[grid])
    sigma = np.full((bands, 5, 4), 123.4, dtype=np.float32)
    return products.encode_surface(LABEL, grid, planes_of(grid, bands), sigma, max_error_dn)


def every_body() -> list[bytes]:
    rng = np.random.default_rng(2)
    shape = (LABEL.window.rows, LABEL.window.cols)
    return [
        products.encode_statistics(LABEL, STATS),
        products.encode_quicklook(LABEL, rng.integers(0, 256, (3, 9, 8), dtype=np.uint8), 12),
        products.encode_classes(LABEL, rng.integers(0, 4, shape, dtype=np.uint8)),
        *(surface_body(grid) for grid in Grid),
        products.encode_raw(LABEL, {grid: planes_of(grid, len(BANDS_OF_GRID[grid])) for grid in Grid}),
    ]


@given(st.integers(0, 32767))
@settings(max_examples=60, deadline=None)
def test_what_comes_back_is_never_further_than_the_error_asked_for(error: int) -> None:
    found = restore(quantise(EVERY_COUNT, error), step_of(error))
    assert np.abs(found.astype(np.int64) - EVERY_COUNT).max() <= error
    # No data (0) comes back as 0, and nothing else does.
    np.testing.assert_array_equal(found == 0, EVERY_COUNT == 0)


@pytest.mark.parametrize("error", [0, 1, 2, 5, 10, 20, 1000])
def test_the_error_asked_for_is_used_in_full(error: int) -> None:
    found = restore(quantise(EVERY_COUNT, error), step_of(error))
    assert np.abs(found.astype(np.int64) - EVERY_COUNT).max() == error


def test_an_error_of_0_means_lossless_and_the_counts_are_left_as_they_are() -> None:
    counts = planes_of(Grid.R20M, 6)
    before = counts.copy()
    for error in (0, 10):
        body = products.encode_surface(LABEL, Grid.R20M, counts, np.zeros((6, 5, 4), np.float32), error)
        np.testing.assert_array_equal(counts, before)
        found = products.decode(body).planes[:6]
        assert np.abs(np.stack(found).astype(int) - before).max() <= error


@given(st.one_of(U8_PLANES, U16_PLANES), st.sampled_from(Codec))
@settings(max_examples=150, deadline=None)
def test_every_codec_gives_back_every_plane(plane: np.ndarray, codec: Codec) -> None:
    code = encode_samples(plane, codec)
    np.testing.assert_array_equal(decode_samples(code, codec, 8 * plane.itemsize, *plane.shape), plane)


def gaps_like_cloud(seed: int, rows: int, cols: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.random((-(-rows // 3), -(-cols // 3))) < rng.random()
    return coarse.repeat(3, axis=0).repeat(3, axis=1)[:rows, :cols]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_what_holds_over_gaps_is_what_was_there_before_them(
    rows: int, cols: int, bands: int, seed: int
) -> None:
    steps = np.random.default_rng(seed).integers(1, 9, (bands, rows, cols), dtype=np.uint16)
    steps *= ~gaps_like_cloud(seed, rows, cols)
    gaps, held = gaps_of(steps), steps.copy()
    hold_over(held, gaps)
    np.testing.assert_array_equal(held[:, ~gaps], steps[:, ~gaps])
    row, col = np.nonzero(gaps[1:])
    np.testing.assert_array_equal(held[:, row + 1, col], held[:, row, col], "a gap adds no difference")
    for c in np.flatnonzero(gaps[0] & ~gaps.all(axis=0)):
        assert (held[:, 0, c] == steps[:, np.flatnonzero(~gaps[:, c])[0], c]).all()


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000), st.sampled_from([0, 10]))
@settings(max_examples=60, deadline=None)
def test_gaps_come_back_as_gaps_whatever_their_form(rows: int, cols: int, seed: int, error: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 9000, (4, rows, cols), dtype=np.uint16)
    counts *= ~gaps_like_cloud(seed, rows, cols)
    counts[2, seed % rows, seed % cols] = 0  # dark in one band is not a gap
    label = replace(LABEL, window=Window(0, 0, rows, cols))
    sigma = np.zeros((4, 2, 2), np.float32)[:, : -(-rows // 24), : -(-cols // 24)]
    found = products.decode(products.encode_surface(label, Grid.R10M, counts, sigma, error))
    planes = np.stack(found.planes[:4])
    np.testing.assert_array_equal(planes == 0, counts == 0)
    assert np.abs(planes.astype(int) - counts).max() <= error


def test_a_band_that_lies_beside_another_is_not_read_without_it() -> None:
    """B12 lies beside B11, that beside B05; a product without B05 says so."""
    whole = products.unpack(surface_body(Grid.R20M))
    planes = {plane.band: plane for plane in whole.planes if plane.content is Content.SURFACE}
    without = replace(whole, planes=tuple(plane for plane in whole.planes if plane.band is not Band.B05))
    for band in (Band.B12, Band.B06):
        with pytest.raises(ProductError, match="without that of B05"):
            products.decode_plane(without, planes[band])


def test_a_code_is_read_as_the_document_says() -> None:
    """libaec without a predictor gives 0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    plane = np.array([[7, 9, 65535], [7, 8, 0]], np.uint16)
    code = encode_samples(plane, Codec.CCSDS_121)
    differences = [7, 2, 65526 - 65536, 0, -1, 1]  # 65526 and 0 - 65535 wrap around
    folded = imagecodecs.aec_decode(code, bitspersample=16, flags=0, blocksize=16, rsi=128, out=4096)
    expected = [2 * d if d >= 0 else -2 * d - 1 for d in differences]
    assert np.frombuffer(folded, "<u2")[:6].tolist() == expected


@given(st.integers(1, 9000), st.integers(0, 9000), st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=200, deadline=None)
def test_a_plane_that_ends_in_sameness_comes_back(samples: int, noisy: int, dtype: type) -> None:
    plane = np.full((1, samples), 7, dtype=dtype)
    plane[0, :noisy] = np.random.default_rng(noisy).integers(0, 256, len(plane[0, :noisy]))
    code = encode_samples(plane, Codec.CCSDS_121)
    found = decode_samples(code, Codec.CCSDS_121, 8 * plane.itemsize, 1, samples)
    np.testing.assert_array_equal(found, plane)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_plane_cut_out_of_a_larger_one_is_coded_as_itself(codec: Codec) -> None:
    part = EVERY_COUNT[10:40:3, 7:90]
    np.testing.assert_array_equal(decode_samples(encode_samples(part, codec), codec, 16, *part.shape), part)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_code_of_another_size_is_refused(codec: Codec) -> None:
    code = encode_samples(EVERY_COUNT, codec)
    for rows, cols in ((256, 512), (128, 256), (1, 1)):
        with pytest.raises(ProductError, match=codec.name):
            decode_samples(code, codec, 16, rows, cols)


def test_classes_quicklook_statistics_and_raw_tiles_are_lossless() -> None:
    rng = np.random.default_rng(5)
    classes = rng.choice([0, 1, 2, 3, 255], (100, 88)).astype(np.uint8)
    np.testing.assert_array_equal(products.decode(products.encode_classes(LABEL, classes)).planes[0], classes)
    rgb = rng.integers(0, 256, (3, 9, 8), dtype=np.uint8)
    np.testing.assert_array_equal(products.decode(products.encode_quicklook(LABEL, rgb, 12)).planes, rgb)
    assert products.decode(products.encode_statistics(LABEL, STATS)).stats == STATS
    raw = {grid: planes_of(grid, len(BANDS_OF_GRID[grid])) for grid in Grid}
    found = products.decode(products.encode_raw(LABEL, raw))
    bands = [plane.band for plane in found.container.planes]
    assert bands == [band for grid in Grid for band in BANDS_OF_GRID[grid]]
    expected = [plane for grid in Grid for plane in raw[grid]]
    assert all(np.array_equal(a, b) for a, b in zip(found.planes, expected, strict=True))


def test_surface_reflectance_comes_with_its_standard_deviation_in_counts() -> None:
    sigma = np.array([0.4, 0.6, 119.5, 65534.6, 1e9, np.nan, np.inf, -3.0], dtype=np.float32)
    label = replace(LABEL, window=Window(240, 0, 48, 96))
    counts = np.full((2, 8, 16), 1500, dtype=np.uint16)
    cells = np.stack([sigma.reshape(2, 4), np.zeros((2, 4), np.float32)])
    found = products.decode(products.encode_surface(label, Grid.R60M, counts, cells, 10))
    assert [(p.content, p.band) for p in found.container.planes] == [
        (content, band)
        for content in (Content.SURFACE, Content.SIGMA)
        for band in SURFACE_BANDS_OF_GRID[Grid.R60M]
    ]
    assert found.planes[2].ravel().tolist() == [0, 1, 120, 65535, 65535, 65535, 65535, 0]


def test_the_label_comes_back_as_it_was_given() -> None:
    kinds = list(ProductKind)
    for body, kind in zip(every_body(), kinds, strict=True):
        container = products.decode(body).container
        assert (container.kind, container.label) == (kind, LABEL)
        assert (container.counts_offset, container.counts_per_reflectance) == (1000, 10000)
    bare = ProductLabel(replace(ORIGIN, georeference=None), 0, Window(0, 0, 6, 6))
    assert products.decode(products.encode_statistics(bare, STATS)).container.label == bare


def test_the_bytes_depend_on_the_contents_and_the_label_alone() -> None:
    assert every_body() == every_body()


def test_a_products_id_is_its_strip_tile_and_kind() -> None:
    ids = {
        products.product_id(strip, tile, kind)
        for strip in ("A", "B")
        for tile in (0, 1, 99999, 100000)
        for kind in ProductKind
    }
    assert len(ids) == 2 * 4 * len(ProductKind)
    assert products.product_id("S2A", 7, ProductKind.SURFACE_10M) == "S2A.00007.surface_10m"


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_length_and_crc_are_right_before_a_codec_sees_one_byte(data: st.DataObject) -> None:
    body = bytearray(BODIES[data.draw(st.integers(0, len(BODIES) - 1))])
    start = data.draw(st.integers(0, len(body) - 1))
    size = data.draw(st.integers(1, 4))  # a CRC-32 sees every burst of up to 32 bits
    flips = data.draw(st.binary(min_size=size, max_size=size).filter(any))
    for offset, flip in enumerate(flips[: len(body) - start]):
        body[start + offset] ^= flip
    if bytes(body) in BODIES:
        return
    with pytest.raises(ProductError):
        products.unpack(bytes(body))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_product_cut_short_or_with_more_behind_it_is_refused(data: st.DataObject) -> None:
    body = BODIES[data.draw(st.integers(0, len(BODIES) - 1))]
    with pytest.raises(ProductError, match="cut short"):
        products.unpack(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(ProductError, match="too long"):
        products.unpack(body + data.draw(st.binary(min_size=1, max_size=9)))


def sealed(body: bytes) -> bytes:
    """``body`` with a length and a CRC that fit it: what a wrong encoder could make."""
    return body[:-4] + struct.pack(">I", zlib.crc32(body[:-4]))


@pytest.mark.parametrize(
    ("offset", "wrong", "reason"),
    [
        (0, b"JPEG", "no product"),
        (4, b"\x03", "version 3"),
        (5, b"\xee", "unknown kind"),
        (7, b"\xff", "strip id"),
        (6, b"\xff", "unknown content"),
        (7, b"\x00", "strip id"),
        (96, b"\xff", "strip id"),
        (114, b"\x63", "unknown content"),
        (115, b"\x40", "unknown content"),
        (116, b"\x09", "unknown content"),
        (117, b"\x20", "32 bits"),
        (120, b"\x00\x02", "step 2"),
        (122, b"\x7f\xff\xff\xff", "cover its window"),
        (130, b"\x7f\xff\xff\xff", "do not fill"),
    ],
)
def test_a_container_at_odds_with_itself_is_refused(offset: int, wrong: bytes, reason: str) -> None:
    body = surface_body()
    broken = sealed(body[:offset] + wrong + body[offset + len(wrong) :])
    with pytest.raises(ProductError, match=reason):
        products.unpack(broken)


def test_a_table_of_planes_longer_than_the_product_is_refused() -> None:
    body = products.encode_statistics(LABEL, STATS)
    with pytest.raises(ProductError, match="table of planes"):
        products.unpack(sealed(body[:6] + b"\xff" + body[7:]))


def test_a_damaged_code_under_a_right_crc_is_an_error_or_a_plane_of_the_right_size() -> None:
    body = surface_body()
    plane = products.unpack(body).planes[0]
    rng = np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(body)
        for byte in rng.integers(plane.start_byte, plane.start_byte + plane.size_bytes, 5):
            broken[byte] = rng.integers(256)
        container = products.unpack(sealed(bytes(broken)))
        try:
            found = products.decode_plane(container, container.planes[0])
        except ProductError:
            continue
        assert found.shape == (plane.rows, plane.cols)


def test_statistics_of_a_product_without_any_are_refused() -> None:
    with pytest.raises(ProductError, match="classes product"):
        products.decode_statistics(products.unpack(BODIES[2]))


def test_every_byte_of_the_header_stands_where_the_document_says() -> None:
    body = products.encode_statistics(LABEL, STATS)
    expected = b"".join(
        [
            b"SKYP",  # 0 magic
            b"\x02",  # 4 version
            b"\x01",  # 5 kind: statistics
            b"\x01",  # 6 planes
            b"\x12",  # 7 characters of the strip id: 18
            bytes.fromhex("00000003"),  # 8 tile
            bytes.fromhex("000000f0 00000390 00000064 00000058"),  # 12 window: 240, 912, 100, 88
            bytes.fromhex("000001e0 000003e8"),  # 28 strip: 480 rows, 1000 columns
            bytes.fromhex("14d5d4c68b15c001"),  # 36 start, ns
            bytes.fromhex("3f583f91e646f156"),  # 44 line period, 0.00148 s
            bytes.fromhex("4024000000000000"),  # 52 ground sample, 10 m
            bytes.fromhex("00007f6b"),  # 60 EPSG 32619
            bytes.fromhex("4118696000000000"),  # 64 easting, 399960 m
            bytes.fromhex("4154fb1d00000000"),  # 72 northing, 5500020 m
            bytes.fromhex("0123456789abcdef"),  # 80 model
            bytes.fromhex("03e8 2710"),  # 88 counts: offset 1000, 10000 per reflectance
            bytes.fromhex("000000a6"),  # 92 length of all: 166
            b"S2A_19UDP_20170729",  # 96 strip id
            b"\x01\xff\x00\x08",  # 114 content: statistics, no band, plain, 8 bits
            bytes.fromhex("0000 0001"),  # 118 no picture, step 1
            bytes.fromhex("00000001 0000001c 0000001c"),  # 122 1 x 28 samples, 28 bytes
            bytes.fromhex("00001f40 00000320"),  # 134 8000 px valid, 800 without data
            bytes.fromhex("3f000000 3e800000 3e000000 3e000000 3f400000"),  # 142 the five ratios
        ]
    )
    assert body[:-4].hex(" ") == expected.hex(" ")
    assert body[-4:] == struct.pack(">I", zlib.crc32(expected))


BODIES = every_body()
