"""Fields of JSON objects that somebody else wrote: each asked for by its type, with one sentence where it is wrong.

A sentence names the file, the line and the field, what stands there by its type, and what would be right. It quotes
no text: what is wrong may be private.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ...system import files
from ...system.envelope import quoted
from ...system.errors import UsageError

TYPES = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class Wanted(NamedTuple):
    """What a field may hold."""

    said: str
    """What would be right, in words."""
    right: Callable[[Any], bool]
    quoted: bool = False
    """Whether a wrong text may be repeated: it ought to be a name, and says nothing private."""


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def at_least(least: int) -> Wanted:
    return Wanted(f"a whole number from {least} up", lambda value: type(value) is int and value >= least)


def one_of(*values: str) -> Wanted:
    return Wanted(
        " or ".join(f'"{value}"' for value in values), lambda value: isinstance(value, str) and value in values, True
    )


TEXT = Wanted("a text", lambda value: isinstance(value, str))
NAMED = Wanted("a text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()))
TEXT_OR_NULL = Wanted("a text, or null", lambda value: value is None or isinstance(value, str))
FLAG = Wanted("true or false", lambda value: isinstance(value, bool))
TEXTS = Wanted("a list of texts", is_texts)
FLAGS = Wanted(
    "a list of true and false", lambda value: isinstance(value, list) and all(type(one) is bool for one in value)
)
WHOLES = Wanted(
    "a list of whole numbers from 0 up",
    lambda value: isinstance(value, list) and all(type(one) is int and one >= 0 for one in value),
)
NUMBER = Wanted("a number from 0 up", lambda value: is_number(value) and value >= 0)
POSITIVE = Wanted("a number above 0", lambda value: is_number(value) and value > 0)
OBJECT = Wanted("an object", lambda value: isinstance(value, dict))
LIST = Wanted("a list", lambda value: isinstance(value, list))


@dataclass(frozen=True)
class Fields:
    """A JSON object, and where it stands."""

    values: Mapping[str, Any]
    where: str

    def get(self, name: str, wanted: Wanted, default: Any = ...) -> Any:
        """A field's value; UsageError where it is wrong, or absent without a default."""
        if name not in self.values:
            if default is ...:
                raise UsageError(f"{self.where} has no {name}; give {wanted.said}")
            return default
        value = self.values[name]
        if not wanted.right(value):
            stands = quoted(value) if wanted.quoted and isinstance(value, str) else shown(value)
            raise UsageError(f"{self.where}: {name} is {stands}; give {wanted.said}")
        return value

    def inside(self, name: str) -> Fields:
        """The object in a field; an empty one where the field is absent."""
        return Fields(self.get(name, OBJECT, {}), f"{self.where}: {name}")


def shown(value: Any) -> str:
    """What a JSON value is, without what it says: it may be private."""
    if value is None:
        return "null"
    if type(value) is float and not isfinite(value):
        return "no finite number"
    if type(value) in (int, bool):
        return str(value).lower()[:20]
    if value in ("", [], {}):
        return f"{TYPES[type(value)]} without anything in it"
    return f"{TYPES[type(value)]} of {len(value)}" if isinstance(value, list | dict) else TYPES[type(value)]


def object_in(value: Any, where: str) -> Fields:
    """A JSON value as an object; UsageError where it is none."""
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {shown(value)}; give an object")
    return Fields(value, where)


def stored_in(path: Path) -> Any:
    """The JSON value of a file, which is no link."""
    plain_file(path)
    return files.read_json(path)


def rows_in(path: Path) -> Iterator[Fields]:
    """The objects of a file that holds one a line, one at a time; an absent file holds none."""
    plain_file(path)
    for number, _, value in files.located_lines(path):
        yield object_in(value, f"{path} line {number}")


def plain_file(path: Path) -> bool:
    """Whether a file is there; UsageError where it is a link, which leads out of the folder, or no file."""
    if path.is_symlink():
        raise UsageError(f"{path} is a link, which attacks cannot follow; put the file itself there")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file; give one, as docs/transcripts.md shows")
    return path.exists()
