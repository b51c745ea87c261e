"""The formula of every protocol that sends anything, by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from . import averages, each_epoch, once
from .setting import Setting
from .shapes import Shape
from .traffic import Costs, Flow, added

FORMULAS: Mapping[str, Callable[[Setting], Iterator[Flow]]] = {
    "fedlora": averages.fedlora,
    "fedmobillm": once.fedmobillm,
    "mesfl": averages.mesfl,
    "mobillm": once.mobillm,
    "pae": once.pae,
    "pae_lm": once.pae_lm,
    "split": each_epoch.split,
    "splitfed": averages.splitfed,
    "splitlora": averages.splitlora,
    "ushape": each_epoch.ushape,
}
SILENT = frozenset({"local", "released"})
"""Protocols that send nothing."""


def derived(protocol: str, setting: Setting) -> Costs:
    """What a protocol sends, by kind and direction."""
    return added(FORMULAS[protocol](setting))


def running_on(shape: Shape) -> list[str]:
    """Protocols that run on a model of such a shape."""
    return [name for name in FORMULAS if shape.causal or name != "pae_lm"]
