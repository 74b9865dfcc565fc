"""Samples to bytes and back: bounded quantisation, then a lossless code.

Rules:
1. What comes back is never further from the counts than the error asked for.
2. No data (0) comes back as 0, and nothing else does.
3. An error of 0 means lossless.
4. CCSDS 121.0-B codes how far a sample lies from the one above it, in the first row from the one to the
   left, 0, -1, 1, -2, 2 as 0, 1, 2, 3, 4. (Its own predictor looks left alone: where cloud is cut out of a
   plane, that leaves two jumps in every row, and every block of a row has one.)
"""

from __future__ import annotations

from enum import IntEnum, unique

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from payload.core.radiometry import has_any
from payload.errors import ProductError
from payload.types import NO_DATA_COUNTS, U8, U16

_AEC_FLAGS = 0
"""Of libaec: no predictor of its own (rule 4); samples unsigned, least significant byte first."""

_AEC_BLOCK = 16
_AEC_INTERVAL = 128
"""CCSDS 121.0-B block size and reference sample interval. Small blocks keep to themselves what the edge of a
cloud costs: an eighth fewer bytes than blocks of 64, for 4.0 and 3.1 ns a sample (docs/decisions/0069)."""

_ZSTD_LEVEL = 3
_COUNTS_MAX = 65535


@unique
class Codec(IntEnum):
    """How samples became bytes; the numbers are on the wire."""

    PLAIN = 0
    CCSDS_121 = 1
    ZSTD = 2


def quantise(counts: U16, max_error_dn: int) -> U16:
    """Steps of 2 ``max_error_dn`` + 1 counts, numbered from 1; 0 where there is no data. A new array."""
    if max_error_dn == 0:
        lossless: U16 = counts.copy()
        return lossless
    steps: U16 = np.floor_divide(counts, np.uint16(step_of(max_error_dn)))
    steps += np.sign(counts)  # 0 or 1: keeps what has data off 0
    return steps


def restore(steps: U16, step: int) -> U16:
    """Counts at the middle of each step; 0 where there is no data."""
    if step == 1:
        return steps
    middle = (steps.astype(np.int64) - 1) * step + step // 2
    counts: U16 = np.where(steps == 0, NO_DATA_COUNTS, np.clip(middle, 1, _COUNTS_MAX)).astype(np.uint16)
    return counts


def step_of(max_error_dn: int) -> int:
    """Width of a quantisation step whose middle is within ``max_error_dn`` of all of it."""
    step = 2 * max_error_dn + 1
    assert 1 <= step <= _COUNTS_MAX, max_error_dn
    return step


def gaps_of(steps: U16) -> NDArray[np.bool_]:
    """Where no band (band, row, col) has data: bool (row, col)."""
    gaps: NDArray[np.bool_] = ~has_any(steps)
    return gaps


def hold_over(steps: U16, gaps: NDArray[np.bool_]) -> None:
    """Let every band (band, row, col) stay, in place, as it was where ``gaps`` (row, col) begin, row by row.

    So gaps cost next to nothing and hide no jump; what is read there is not meant.
    """
    first = (~gaps).argmax(axis=0)  # a column that begins with a gap begins with what it has first
    steps[:, 0] = np.take_along_axis(steps, first[None, None], axis=1)[:, 0]
    has_data = ~gaps.all(axis=0)
    steps[:, 0] = steps[:, 0, np.maximum.accumulate(np.where(has_data, np.arange(len(first)), 0))]
    for row in np.flatnonzero(gaps.any(axis=1)):
        if row:
            np.copyto(steps[:, row], steps[:, row - 1], where=gaps[row])


def encode_bits(bits: NDArray[np.bool_]) -> bytes:
    """One plane (row, col) of bits, eight in a byte, every row by itself; to be decoded as of 1 bit."""
    return encode_samples(np.packbits(bits, axis=1), Codec.ZSTD)


def encode_samples(samples: U8 | U16, codec: Codec) -> bytes:
    """One plane (row, col) as bytes, without loss."""
    if codec is Codec.PLAIN:
        return samples.tobytes()
    if codec is Codec.ZSTD:
        return bytes(imagecodecs.zstd_encode(samples.tobytes(), level=_ZSTD_LEVEL))
    return bytes(
        imagecodecs.aec_encode(
            _differences(samples),
            bitspersample=8 * samples.itemsize,
            flags=_AEC_FLAGS,
            blocksize=_AEC_BLOCK,
            rsi=_AEC_INTERVAL,
        )
    )


def _differences(samples: U8 | U16) -> U8 | U16:
    """Rule 4: a new plane of the same type; what wraps around wraps back."""
    found = np.empty(samples.shape, samples.dtype)
    np.subtract(samples[1:], samples[:-1], out=found[1:])
    found[0, 0] = samples[0, 0]
    np.subtract(samples[0, 1:], samples[0, :-1], out=found[0, 1:])
    signed = found.view(np.dtype(f"i{samples.itemsize}"))
    signs = signed >> (8 * samples.itemsize - 1)
    signed <<= 1
    signed ^= signs
    return found


def _sums(differences: U8 | U16) -> U8 | U16:
    """The plane that `_differences` was given."""
    one = differences.dtype.type(1)
    samples: U8 | U16 = (differences >> one) ^ (~(differences & one) + one)
    np.cumsum(samples[0], dtype=samples.dtype, out=samples[0])
    np.cumsum(samples, axis=0, dtype=samples.dtype, out=samples)
    return samples


def _whole_intervals(samples: int) -> int:
    """What the decoder may write: CCSDS 121 fills up the last block, if need be the interval."""
    interval = _AEC_BLOCK * _AEC_INTERVAL
    return -(-samples // interval) * interval


def decode_samples(coded: bytes, codec: Codec, bits: int, rows: int, cols: int) -> U8 | U16:
    """The plane (rows, cols) that `encode_samples` or `encode_bits` made into ``coded``.

    Args:
        bits: of a sample: 16, 8, or 1, which comes back as uint8, 0 or 1.

    Raises:
        ProductError: the code is not that of such a plane.
    """
    dtype = np.dtype(f"<u{max(bits // 8, 1)}")
    width = -(-cols // 8) if bits == 1 else cols
    size_bytes = rows * width * dtype.itemsize
    try:
        if codec is Codec.CCSDS_121:
            plain = imagecodecs.aec_decode(
                coded,
                bitspersample=bits,
                flags=_AEC_FLAGS,
                blocksize=_AEC_BLOCK,
                rsi=_AEC_INTERVAL,
                out=_whole_intervals(rows * width) * dtype.itemsize,
            )[:size_bytes]
        elif codec is Codec.ZSTD:
            plain = imagecodecs.zstd_decode(coded, out=size_bytes)
        else:
            plain = coded
    except (RuntimeError, ValueError) as error:
        raise ProductError(f"{codec.name} code of {rows} x {cols} samples is damaged: {error}") from error
    if len(plain) != size_bytes:
        raise ProductError(
            f"{codec.name} code holds {len(plain)} bytes, not those of {rows} x {cols} samples"
        )
    if bits == 1:
        return np.unpackbits(np.frombuffer(plain, np.uint8).reshape(rows, width), axis=1, count=cols)
    samples: U8 | U16 = np.frombuffer(plain, dtype=dtype).reshape(rows, cols)
    return _sums(samples) if codec is Codec.CCSDS_121 else samples
