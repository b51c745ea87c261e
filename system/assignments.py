"""Settings and defences as they are typed on a command line. Imports no heavy library."""

from __future__ import annotations

from typing import Any

from .errors import UsageError


def assignments(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs as settings; a dotted name is a setting of a setting. Values are TOML, or else text."""
    import tomllib

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        *tables, last = (part.strip() for part in name.split("."))
        if not equals or not all([*tables, last]):
            raise UsageError(f"{pair!r} is no setting; give NAME=VALUE")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table = settings
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UsageError(f"{pair!r} is a setting of {part!r}, which has a value already; give NAME=VALUE once")
        table[last] = value
    return settings


def defended(given: list[str]) -> dict[str, dict[str, Any]]:
    """Defences with their settings by name, in the order given."""
    defences: dict[str, dict[str, Any]] = {}
    for one in given:
        name, colon, settings = one.partition(":")
        if name in defences:
            raise UsageError(f"the defence {name} is given twice; give it once, as NAME:SETTING=VALUE,SETTING=VALUE")
        defences[name] = assignments(settings.split(",")) if colon else {}
    return defences
