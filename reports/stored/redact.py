"""An audit without private texts, labels of rows or paths, so that its report can be passed on."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from .records import Data, Stored
from .results import Audit
from .rows import Row

REMOVED = "[removed]"
PATH = "[path]"
COMMAND = "sidelight audit SUITE.json --backbone BACKBONE --data DATA --seed SEED"
"""What stands in place of the command with its paths."""
_PATH = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s'\"(),;]*"  # absolute, home and explicitly relative paths
    r"|(?<!\w)[\w.-]+(?:/[\w.-]+){2,}"  # a/b/c: a hub id has one slash
    r"|(?<!\w)[\w./-]*\.(?:jsonl?|csv|tsv|txt|toml|py|safetensors)\b(?::\d+)?"
)
# the value of a setting in a run's name: it ends where the next begins, whatever spaces it holds
_GIVEN = re.compile(r"(?<==)(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^,()]*|(?<=\badapter=)[^,()]+")
_BEGUN = re.compile(r"[A-Za-z]:\\|~?/|\.{1,2}/")
# what an exception says may quote a private text; its name does not
_SAID = re.compile(r"(?s)\b(\w*(?:Error|Exception|Warning|Interrupt))\b\s*[:(].*")
# an apostrophe inside a word opens no quotation
_QUOTED = re.compile(r"(?s)(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\u2018[^\u2019]*\u2019|\u201c[^\u201d]*\u201d")
_FREE = {"reason", "notices"}
"""Fields whose text comes from outside the program."""
_SET = {"settings", "threat"}
"""Fields that hold what a user set."""
_OPEN_FORM = "{text}"
"""The form of a row that adds no word of its own."""

Kept = TypeVar("Kept", bound=Stored)


def redacted(audit: Audit) -> Audit:
    """The same audit without examples and with paths and quoted words removed from its text."""
    return replace(
        audit,
        head=_cleaned(audit.head.model_copy(update={"data": _unnamed(audit.head.data)})),
        groups=tuple(map(_cleaned, audit.groups)),
        runs=MappingProxyType({key: _cleaned(run) for key, run in audit.runs.items()}),
        rows=tuple(map(_row, audit.rows)),
        curves=tuple(map(_cleaned, audit.curves)),
        examples=MappingProxyType({}),
        budget=None if audit.budget is None else _cleaned(audit.budget),
        command=COMMAND if audit.command else "",
        redacted=True,
    )


def _unnamed(data: Data) -> Data:
    """Data under no name where the name is a file's, whatever stands in it."""
    return data if re.fullmatch(r"[\w-]+(/[\w-]+)?", data.name) else data.model_copy(update={"name": PATH})


def _cleaned(record: Kept) -> Kept:
    return record.model_validate(scrubbed(record.model_dump(by_alias=True)))


def _row(row: Row) -> Row:
    return _cleaned(row).model_copy(update={"stored": MappingProxyType(scrubbed(dict(row.stored)))})


def scrubbed(value: Any, free: bool = False) -> Any:
    """A JSON value without paths, and without quoted words and error messages where its text is free."""
    if isinstance(value, str):
        return _without_paths(_without_quotes(value) if free else value)
    if isinstance(value, dict):
        shown = {name: _settings(inner) if name in _SET else inner for name, inner in value.items()}
        return {name: scrubbed(inner, free or name in _FREE) for name, inner in shown.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(inner, free) for inner in value]
    return value


def _settings(value: Any, name: str = "") -> Any:
    """Settings without what is private as a whole: paths with their spaces, an adapter's names of classes and form."""
    if isinstance(value, dict):
        return {inner: _settings(one, inner) for inner, one in value.items()}
    if isinstance(value, list | tuple):
        return len(value) if name == "classes" else [_settings(one) for one in value]
    if not isinstance(value, str):
        return value
    if name == "form":
        return value if value == _OPEN_FORM else REMOVED
    return PATH if value and (name == "adapter" or _BEGUN.match(value)) else value


def _without_quotes(text: str) -> str:
    return _QUOTED.sub(REMOVED, _SAID.sub(rf"\1: {REMOVED}", text))


def _without_paths(text: str) -> str:
    return _PATH.sub(PATH, _GIVEN.sub(PATH, text))
