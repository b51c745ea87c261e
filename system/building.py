"""A protocol with its settings and defences, built in one place, whoever asks: a suite, an order, a command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from .defences import DEFENCES, Defence
from .errors import UnknownName, UsageError
from .presets import PRESETS
from .protocols import PROTOCOLS, Protocol
from .settings import build, changed, laid_over

Settings = Mapping[str, Any]


class Recipe(NamedTuple):
    """A protocol by name, its settings, and defences by name with theirs, in the order in which they act."""

    protocol: str
    settings: Settings
    defences: Mapping[str, Settings]


def unfolded(asked: Recipe) -> Recipe:
    """What a preset's name stands for, with what is asked for laid over it; anything else as it is."""
    if asked.protocol not in PRESETS:
        if asked.protocol not in PROTOCOLS:
            raise UnknownName("protocol", asked.protocol, [*PROTOCOLS, *PRESETS])
        return asked
    preset = PRESETS[asked.protocol]
    settings, defences = laid_over(preset.settings, asked.settings), laid_over(preset.defences, asked.defences)
    return Recipe(preset.protocol, settings, defences)


def folded(recipe: Recipe) -> Recipe:
    """The shortest name of settings and defences that differ from their defaults: a preset's in place of its own."""
    own = list(recipe.defences.items())
    for name, preset in PRESETS.items():
        first = [(one, differing(one, settings)) for one, settings in preset.defences.items()]
        begins = preset.protocol == recipe.protocol and own[: len(first)] == first
        if begins and preset.settings.items() <= recipe.settings.items():
            rest = {setting: value for setting, value in recipe.settings.items() if setting not in preset.settings}
            return Recipe(name, rest, dict(own[len(first) :]))
    return recipe


def build_protocol(name: str, settings: Settings, defences: Mapping[str, Settings]) -> Protocol:
    """One sentence of UsageError for an unknown name, a wrong value, or a defence that the protocol does not take."""
    if "defences" in settings:
        raise UsageError(f"defences of {name} stand among its settings; give them beside, as in defences.rotate = {{}}")
    made = build(PROTOCOLS[name], settings, name)
    return replace(made, defences=tuple(build_defence(*one) for one in defences.items()))


def build_defence(name: str, settings: Settings) -> Defence:
    """A defence; UsageError where it would reveal a key that it does not have."""
    made = build(DEFENCES[name], settings, name)
    if made.revealed and not made.can_reveal:
        raise UsageError(f"{name} has no key to reveal with these settings; leave revealed away")
    return made


def differing(name: str, settings: Settings) -> dict[str, Any]:
    """A defence's settings that are not its defaults; of somebody else's defence all."""
    if name not in DEFENCES:
        return dict(settings)
    return changed(settings, {field.name: field.default for field in fields(DEFENCES[name])})


def short(defences: Iterable[Defence]) -> dict[str, dict[str, Any]]:
    """Defences by name, as one would write them in a suite."""
    return {one.name: differing(one.name, one.settings()) for one in defences}


def called(name: str, settings: Settings) -> str:
    """How a label names a defence: `label-dp (epsilon=1.0)`, `rotate (revealed)`."""
    different = differing(name, settings)
    revealed = ["revealed"] if different.pop("revealed", False) else []
    inside = [*(f"{setting}={value}" for setting, value in sorted(different.items())), *revealed]
    return f"{name} ({', '.join(inside)})" if inside else name
