"""Settings by name, as a suite or a command line gives them, turned into a protocol, an attack or a threat model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import UnknownName, UsageError

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """An instance with some fields set; one sentence for an unknown name or a wrong value."""
    _check_names(cls, values, what)
    check_finite(values, what)
    try:
        return TypeAdapter(cls).validate_python(_over_defaults(cls, values))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UsageError):
            raise cause from None
        name = ".".join(map(str, first["loc"]))
        raise UsageError(f"setting {name} of {what} is {first['input']!r}: {first['msg'].lower()}") from None


def parsed_settings(text: str) -> dict[str, Any]:
    """Settings from a JSON object; raises UsageError where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("the settings are no JSON object; give one")
    return found


def _check_names(cls: Any, values: Mapping[str, Any], what: str) -> None:
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"setting of {what}", name, known)
        if is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise UsageError(f"setting {name} of {what} is {value!r}; give a table of its own settings")
            _check_names(hints[name], value, f"{what}.{name}")


def check_finite(values: Mapping[str, Any], what: str) -> None:
    """Refuse NaN and infinite values."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            check_finite(value, f"{what}.{name}")
        elif isinstance(value, float) and not isfinite(value):
            raise UsageError(f"setting {name} of {what} is {value}; give a finite number")


def _over_defaults(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with each table of settings laid over its field's own default, which may differ from its class's."""
    whole = dict(values)
    for field in fields(cls):
        default: Any = field.default
        if field.name in values and is_dataclass(default):
            whole[field.name] = {**vars(default), **values[field.name]}
    return whole


def changed(settings: Mapping[str, Any], default: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings that differ from the default, nested ones by dotted name."""
    different: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(default.get(name), Mapping):
            different |= changed(value, default[name], f"{prefix}{name}.")
        elif value != default.get(name):
            different[prefix + name] = value
    return different


def named(name: str, different: Mapping[str, Any]) -> str:
    """A name with the settings that differ from the defaults: how a row is called."""
    return f"{name} ({', '.join(f'{k}={v}' for k, v in sorted(different.items()))})" if different else name


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over settings, tables within them too."""
    whole = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(whole.get(name), Mapping)
        whole[name] = laid_over(whole[name], value) if both else value
    return whole
