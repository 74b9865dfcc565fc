"""Which bytes of a file: a sorted set of half-open ranges, touching ones joined."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Extent = tuple[int, int]


class ExtentSet:
    """Byte offsets as ranges [start, end); never more ranges than needed."""

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in extents:
            self.add(start, end)

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._starts)

    def __iter__(self) -> Iterator[Extent]:
        return iter(zip(self._starts, self._ends, strict=True))

    @property
    def size_bytes(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> int:
        """[start, end) is in the set; how many bytes of it were not."""
        if start >= end:
            return 0
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        held = 0
        if low < high:
            for place in range(low, high):
                held += max(0, min(end, self._ends[place]) - max(start, self._starts[place]))
            new_start, new_end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        else:
            new_start, new_end = start, end
        self._starts[low:high] = [new_start]
        self._ends[low:high] = [new_end]
        return end - start - held

    def remove(self, start: int, end: int) -> None:
        """Nothing of [start, end) is in the set."""
        if start >= end:
            return
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high:
            return
        left = [(self._starts[low], start)] if self._starts[low] < start else []
        right = [(end, self._ends[high - 1])] if self._ends[high - 1] > end else []
        kept = left + right
        self._starts[low:high] = [extent[0] for extent in kept]
        self._ends[low:high] = [extent[1] for extent in kept]

    def first(self) -> Extent | None:
        """The lowest range."""
        return (self._starts[0], self._ends[0]) if self._starts else None

    def gaps(self, start: int, end: int) -> Iterator[Extent]:
        """What of [start, end) is not in the set, in order."""
        place = bisect_right(self._ends, start)
        while start < end:
            if place == len(self._starts) or self._starts[place] >= end:
                yield start, end
                return
            if self._starts[place] > start:
                yield start, self._starts[place]
            start = self._ends[place]
            place += 1
