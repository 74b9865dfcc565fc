"""A strict walk over YAML, derived from dataclasses whose fields carry their range and unit.

A field's type is the whole of its rule: a dataclass is a mapping with exactly its fields as
keys, ``Annotated[int | float, Range]`` a number, ``Annotated[str, Text]`` a text, an enum the
lower-case name of a member, ``tuple[Enum, ...]`` a list of them, bool is true or false.
A key whose type is ``X | None`` may be left out, which is the only way to None.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from payload.errors import ConfigError

NOT_A_KEY = {"is_key": False}
"""Metadata of a dataclass field that does not stand in the file."""

_MAX_DEPTH = 8
_SHOWN_CHARS = 60
_WHOLE = re.compile(r"-?[0-9]+(_[0-9]+)*")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Range:
    """The closed range and the unit of a number; ``multiple`` also bounds its last digits."""

    low: float
    high: float
    unit: str
    multiple: int = 1

    def __str__(self) -> str:
        step = f", a multiple of {self.multiple}" if self.multiple != 1 else ""
        return f"{self.low:.15g} to {self.high:.15g} {self.unit}".rstrip() + step

    def has(self, value: float) -> bool:
        """Whether ``value`` is allowed."""
        return self.low <= value <= self.high and (self.multiple == 1 or value % self.multiple == 0)


@dataclass(frozen=True, slots=True)
class Text:
    """What a text is, and how long it may be."""

    what: str
    max_chars: int


class Walk:
    """One walk over one YAML text; collects every fault with its line."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._faults: list[tuple[int, str]] = []
        self.line_of: dict[str, int] = {}

    def fault(self, line: int, key: str, what: str) -> None:
        """Notes that ``key`` in ``line`` (1-based) is wrong."""
        where = f"{key}: " if key else ""
        self._faults.append((line, f"{self._source}:{line}: {where}{what}"))

    def raise_faults(self) -> None:
        """Ends the walk if anything was wrong, the faults in the order of their lines.

        Raises:
            ConfigError: one line per fault, each ``source:line: key: what is allowed``.
        """
        if self._faults:
            raise ConfigError("\n".join(fault for _, fault in sorted(self._faults)))

    def read(self, text: str, kind: type[Any]) -> dict[str, Any]:
        """The value of every key of dataclass ``kind`` in the YAML ``text``, faults noted."""
        root = self._compose(text)
        return self._read_keys(root, kind, "") if root else {}

    def _compose(self, text: str) -> yaml.Node | None:
        """The root node of plain, shallow YAML, or None with the faults noted."""
        try:
            if not self._is_plain(text):
                return None
            root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            self.fault(line, "", f"not YAML: {error.problem or error.context}")
            return None
        except yaml.YAMLError as error:
            self.fault(1, "", f"not YAML: {str(error).splitlines()[0]}")
            return None
        if root is None:
            self.fault(1, "", "empty")
        return root

    def _is_plain(self, text: str) -> bool:
        """Refuses, before anything recursive runs, what a configuration has no need of."""
        before, depth, documents = len(self._faults), 0, 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = _line(event)
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if documents > 1 or depth > _MAX_DEPTH:
                what = "a second document" if documents > 1 else f"deeper than {_MAX_DEPTH} levels"
                self.fault(line, "", what)
                return False
            anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
            if anchor is not None:
                self.fault(line, "", f"anchor or alias {anchor!r}: write the value out")
            if tag is not None:
                self.fault(line, "", f"tag {tag!r}: write the plain value")
        return len(self._faults) == before

    def _read_keys(self, node: yaml.Node, kind: type[Any], prefix: str) -> dict[str, Any]:
        """The values of a mapping whose keys are the fields of dataclass ``kind``."""
        hints = _keys_of(kind)
        line = _line(node)
        if not isinstance(node, yaml.MappingNode):
            self.fault(line, prefix.rstrip("."), f"must be a mapping with the keys {', '.join(hints)}")
            return {}
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            name, key_line = _shown(key_node), _line(key_node)
            key = prefix + name
            if name not in hints:
                self.fault(key_line, key, f"unknown key; {_suggestion(name, hints)}")
            elif name in seen:
                self.fault(key_line, key, f"stands twice; the first is in line {seen[name]}")
            else:
                seen[name] = self.line_of[key] = key_line
                values[name] = self._read(value_node, _present(hints[name]), key)
        for name in hints:
            if name not in seen and NoneType in get_args(hints[name]):
                values[name] = None
            elif name not in seen:
                self.fault(line, prefix + name, f"missing; must be {_allowed(hints[name])}")
        return values

    def _read(self, node: yaml.Node, hint: Any, key: str) -> Any:
        """The value of ``node`` as the type ``hint``, or None with the fault noted."""
        if isinstance(hint, type) and is_dataclass(hint):
            values = self._read_keys(node, hint, f"{key}.")
            return None if self._faults else hint(**values)
        if get_origin(hint) is tuple:
            return self._read_list(node, hint, key)
        value = _scalar(node, hint)
        if value is None:
            self.fault(_line(node), key, f"'{_shown(node)}' is not allowed; must be {_allowed(hint)}")
        return value

    def _read_list(self, node: yaml.Node, hint: Any, key: str) -> tuple[Any, ...] | None:
        line = _line(node)
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.fault(line, key, f"must be {_allowed(hint)}")
            return None
        values = tuple(self._read(item, get_args(hint)[0], key) for item in node.value)
        if None not in values and len(set(values)) != len(values):
            self.fault(line, key, "an entry stands twice")
        return values


def rules_of(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of dataclass ``kind``, sections entered, and what it may hold."""
    for name, hint in _keys_of(kind).items():
        present = _present(hint)
        if isinstance(present, type) and is_dataclass(present):
            yield from rules_of(present, f"{prefix}{name}.")
        else:
            yield prefix + name, _allowed(present) + ("; may be left out" if present is not hint else "")


def _keys_of(kind: type[Any]) -> dict[str, Any]:
    """The YAML keys of a section with their types."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind) if field.metadata != NOT_A_KEY}


def _present(hint: Any) -> Any:
    """What stands at a key that may be left out; any other hint as it is."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(hint) else hint


def _scalar(node: yaml.Node, hint: Any) -> Any:
    """The scalar as ``hint`` wants it, or None if it is something else or out of range."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    text, is_plain = str(node.value), node.style is None
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _members(hint).get(text)
    if hint is bool:
        return {"true": True, "false": False}.get(text) if is_plain else None
    kind, bound = get_args(hint)
    if isinstance(bound, Text):
        is_text = node.tag == "tag:yaml.org,2002:str" and text.isprintable() and text.strip() == text
        return text if is_text and 0 < len(text) <= bound.max_chars else None
    pattern, convert = _NUMBERS[kind]
    if not is_plain or len(text) > 32 or pattern.fullmatch(text) is None:
        return None
    value = convert(text)
    return value if bound.has(value) else None


_NUMBERS: Mapping[type, tuple[re.Pattern[str], Callable[[str], float]]] = {
    int: (_WHOLE, int),
    float: (_DECIMAL, float),
}


def _allowed(hint: Any) -> str:
    """What a key may hold, for a person."""
    if isinstance(hint, type) and is_dataclass(hint):
        return f"a mapping with the keys {', '.join(_keys_of(hint))}"
    if get_origin(hint) is tuple:
        return f"a list, each once, of {_allowed(get_args(hint)[0])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(_members(hint))}"
    if hint is bool:
        return "true or false"
    kind, bound = get_args(hint)
    if isinstance(bound, Text):
        return f"{bound.what} (text, 1 to {bound.max_chars} characters; quote what YAML takes for a number)"
    return f"a {'whole' if kind is int else 'decimal'} number, {bound}"


def _shown(node: yaml.Node) -> str:
    """The node on one short line."""
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _line(part: yaml.Node | yaml.Event) -> int:
    return 1 + (part.start_mark.line if part.start_mark else 0)


def _members(kind: type[Enum]) -> dict[str, Enum]:
    return {member.name.lower(): member for member in kind}


def _suggestion(name: str, hints: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, hints, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed here: {', '.join(hints)}"
