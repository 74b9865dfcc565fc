"""A model of a disk that loses power: what is not synced may be gone, torn or there.

Content is what was last synced, a torn half, or all of what was written; names (creations,
renames, removals) persist in any subset until the folder is synced, each name's own changes in
their order. That is weaker than what ext4 or UBIFS promise, as in Pillai et al., OSDI 2014.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

Site = tuple[str, int]
"""Where in the payload a sync is asked for: function and line."""

Files = dict[str, bytes]


class _Content:
    """One file, whatever its names."""

    def __init__(self) -> None:
        self.now = b""
        self.synced = b""

    def possible(self) -> list[bytes]:
        if self.now == self.synced:
            return [self.now]
        torn = self.now[: len(self.now) // 2] + bytes(len(self.now) - len(self.now) // 2)
        return [self.synced, self.now[: len(self.now) // 2], torn, self.now]


@dataclass(frozen=True)
class _Naming:
    """One change of names: what each of them is from now on; None is gone. All or nothing."""

    names: tuple[tuple[str, _Content | None], ...]


class CrashDisk:
    """Implements `payload.update_ports.ModelDisk` in memory; ``ignored`` syncs do nothing."""

    def __init__(
        self,
        files: Files | None = None,
        ignored: Site | None = None,
        after_each: Callable[[], None] = lambda: None,
    ) -> None:
        self._names: dict[str, _Content] = {}
        self._on_disk: dict[str, _Content] = {}
        self._pending: list[_Naming] = []
        self.sites: set[Site] = set()
        self.calls = 0
        self._ignored = ignored
        self.after_each = after_each
        self.free = 1 << 30
        for name, content in (files or {}).items():
            held = _Content()
            held.now = held.synced = content
            self._names[name] = self._on_disk[name] = held

    def size_bytes(self, name: str) -> int | None:
        return len(self._names[name].now) if name in self._names else None

    def read(self, name: str, start: int, size_bytes: int) -> bytes:
        return self._names[name].now[start : start + size_bytes] if name in self._names else b""

    def forget_cached(self, name: str) -> None:
        assert name in self._names

    def free_bytes(self) -> int:
        return self.free

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        if name not in self._names:
            self._names[name] = _Content()
            self._pending.append(_Naming(((name, self._names[name]),)))
        held = self._names[name]
        held.now = b""
        self._done()
        for block in blocks:
            held.now += block
        self._done()

    def sync(self, name: str) -> None:
        if self._is_asked():
            self._names[name].synced = self._names[name].now
        self._done()

    def rename(self, name: str, to: str) -> None:
        held = self._names.pop(name)
        self._names[to] = held
        self._pending.append(_Naming(((name, None), (to, held))))
        self._done()

    def remove(self, name: str) -> None:
        if self._names.pop(name, None) is not None:
            self._pending.append(_Naming(((name, None),)))
        self._done()

    def sync_folder(self) -> None:
        if self._is_asked():
            self._on_disk = dict(self._names)
            self._pending = []
        self._done()

    def _is_asked(self) -> bool:
        """Notes who asks for a sync; False where that one is to be forgotten."""
        frame = sys._getframe(2)
        site = (frame.f_code.co_name, frame.f_lineno)
        self.sites.add(site)
        return site != self._ignored

    def _done(self) -> None:
        self.calls += 1
        self.after_each()

    def after_power_cut(self, at_most: int = 400) -> Iterator[Files]:
        """What may be on the disk when power returns."""
        return itertools.islice(self._possible(), at_most)

    def _possible(self) -> Iterator[Files]:
        for kept in self._subsets():
            names = dict(self._on_disk)
            for naming in kept:
                for name, held in naming.names:
                    if held is None:
                        names.pop(name, None)
                    else:
                        names[name] = held
            choices = [[(name, content) for content in held.possible()] for name, held in names.items()]
            for choice in itertools.product(*choices):
                yield dict(choice)

    def _subsets(self) -> Iterator[list[_Naming]]:
        """Subsets of what is pending in which a change of a name comes with all earlier ones of it."""
        for bits in range(1 << len(self._pending)):
            kept = [naming for place, naming in enumerate(self._pending) if bits >> place & 1]
            left = [naming for place, naming in enumerate(self._pending) if not bits >> place & 1]
            if not any(self._depends(late, early) for late in kept for early in left):
                yield kept

    def _depends(self, late: _Naming, early: _Naming) -> bool:
        if self._pending.index(early) > self._pending.index(late):
            return False
        return bool({name for name, _ in late.names} & {name for name, _ in early.names})
