"""JSON documents read key by key: every fault is named by its place, and nothing is left over.

Rules:
1. Every key is asked for once; a key that nobody asks for is a fault.
2. A document has one byte string, its canonical form: ASCII, keys in order, no blanks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn, TypeVar

from payload.errors import TrustError

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def canonical(document: Any) -> bytes:
    """The one byte string of ``document``; what is signed."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


class Place:
    """One mapping of the document; every key must be taken once before `end`."""

    def __init__(self, document: object, name: str) -> None:
        self._name = name
        if not isinstance(document, dict):
            raise TrustError(f"{name}: must be a mapping")
        self._left: dict[str, Any] = dict(document)

    def take(self, key: str, read: Callable[[Any], _T]) -> _T:
        if key not in self._left:
            self.refuse(key, "missing")
        try:
            return read(self._left.pop(key))
        except ValueError as error:
            raise TrustError(f"{self._name}.{key}: {error}") from error

    def has(self, key: str) -> bool:
        return key in self._left

    def inside(self, key: str) -> Place:
        return Place(self.take(key, mapping), f"{self._name}.{key}")

    def each(self, key: str, at_most: int) -> list[Place]:
        values = self.take(key, list_of_at_most(at_most))
        return [Place(value, f"{self._name}.{key}[{place}]") for place, value in enumerate(values)]

    def refuse(self, key: str, what: str) -> NoReturn:
        raise TrustError(f"{self._name}.{key}: {what}")

    def end(self) -> None:
        if self._left:
            self.refuse(short(min(self._left)), "unknown key")


def read_document(content: bytes, name: str, limit_bytes: int) -> Any:
    """The document in ``content``.

    Raises:
        TrustError: larger than ``limit_bytes``, or no JSON without doubles and infinities.
    """
    if len(content) > limit_bytes:
        raise TrustError(f"{name}: larger than {limit_bytes} bytes")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TrustError(f"{name}: not JSON: {short(str(error))}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def mapping(value: Any) -> dict[str, Any]:
    """Reads a mapping as it is."""
    if not isinstance(value, dict):
        raise ValueError("must be a mapping")
    return value


def list_of_at_most(count: int) -> Callable[[Any], list[Any]]:
    """Reads a list of 1 to ``count`` items."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or not 1 <= len(value) <= count:
            raise ValueError(f"must be a list of 1 to {count}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Reads a whole number, both bounds allowed."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{short(value)} must be a whole number, {low} to {high}")
        return value

    return read


def decimal(low: float, high: float) -> Callable[[Any], float]:
    """Reads a finite number, both bounds allowed."""

    def read(value: Any) -> float:
        # Comparisons alone: a whole number may be too large to become a float.
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(f"{short(value)} must be a number, {low:g} to {high:g}")
        return float(value)

    return read


def text_like(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    """Reads a text that matches ``pattern`` as a whole."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise ValueError(f"{short(value)} must match {pattern.pattern}")
        return value

    return read


def member(kind: type[_E]) -> Callable[[Any], _E]:
    """Reads a member of an enum by its value."""

    def read(value: Any) -> _E:
        for member in kind:
            if member.value == value:
                return member
        raise ValueError(f"{short(value)} must be one of {', '.join(str(member.value) for member in kind)}")

    return read


def short(value: object) -> str:
    """Any value on one short line."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
