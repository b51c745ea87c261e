"""Planted leaks: differences that only group samples, with names from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sidelight.attacks import ATTACKS, Attack
from sidelight.system.defences import DEFENCES, Defence
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.public import Known
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE

from .micro import LABELS, Micro, record, samples
from .planted import Planted, Truth, pae

ROWS = samples(40, seed=4)
"""More than the other leaks have: a slope of 32 values must be told from 6 classes."""


def defence(name: str, **settings: object) -> Defence:
    """A defence with settings, which only itself knows."""
    built: Callable[..., Defence] = DEFENCES[name]
    return built(**settings)


def grouped(micro: Micro, attack: Attack, protocol: Protocol, known: int = 0) -> Planted:
    """A run on the rows, with the labels of the first `known` rows of each class given away."""
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: ROWS}, Streams("the secret seed"))
    run = record(protocol, scene)
    labels = {row.id: LABELS.index(row.label) for row in ROWS}
    told = tuple(Known(row.id, row.label) for row in ROWS[: known * len(LABELS)])
    public = replace(run.public(micro.folders["opt"]), known=told, priors=(1 / len(LABELS),) * len(LABELS))
    return Planted(run.view(), public, Truth(labels, {}), protocol, attack)


def codes(**settings: object) -> Protocol:
    """Secret codewords in place of one-hot targets."""
    return pae(difference="logit", defences=(defence("code", width=12, **settings),))


def secret_head(*others: Defence, difference: str = "logit") -> Protocol:
    """A head that only the device knows, and what else protects."""
    return pae(difference=difference, head="linear", defences=(defence("secret-head"), *others))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "cluster": lambda micro: grouped(micro, ATTACKS["cluster"](), codes(words=1, share=False)),
    "fewshot": lambda micro: grouped(micro, ATTACKS["fewshot"](), codes(words=1), known=2),
    "regress": lambda micro: grouped(micro, ATTACKS["regress"](), secret_head()),
}
