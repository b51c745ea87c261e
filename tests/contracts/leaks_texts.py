"""Planted leaks: labels and texts that activations, gradients and sparse differences carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import one_hot

from sidelight.attacks import ATTACKS, Attack
from sidelight.system.defences import Defence
from sidelight.system.federation import FEDERATION
from sidelight.system.fusion import pivot_activations
from sidelight.system.message import Message
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import Example, Known, Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from .micro import KEYWORDS, LABELS, VICTIM, Micro, make_scene, record
from .planted import Planted, Truth, from_run, made, pae, planted_in

ENTRIES = 8
"""Of a sparse difference."""
CLASSES = {sample.id: LABELS.index(sample.label) for sample in VICTIM}
Disguise = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""From the values of a difference (P, s) to what is sent in their place."""


def turned(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A fresh rotation for every position."""
    drawn = torch.randn(*values.shape, values.shape[1], generator=generator)
    found: torch.Tensor = (torch.linalg.qr(drawn).Q @ values.unsqueeze(2)).squeeze(2)
    return found


def probe(**settings: Any) -> Attack:
    """The attack with settings, which only itself knows."""
    attack: Callable[..., Attack] = ATTACKS["probe"]
    return attack(**settings)


def named_by_keywords(planted: Planted) -> Planted:
    """The classes called by the words that their texts open with, instead of by their subjects."""
    names = tuple(KEYWORDS[label] for label in LABELS)
    return replace(planted, public=replace(planted.public, labels=names, auxiliary=()))


@torch.no_grad()
def sparse(micro: Micro, disguise: Disguise = turned, family: str = "opt", entries: int = ENTRIES) -> Planted:
    """Language modelling: at every position the entries of e_y - p that are largest in size, and all states."""
    backbone, generator = micro.backbone(family), torch.Generator().manual_seed(2)
    messages = []
    for start in range(0, len(VICTIM), 12):
        rows = VICTIM[start : start + 12]
        tokens = backbone.tokens([row.text for row in rows], 48)
        before = tokens.mask[:, 1:].bool()
        states = backbone.activations(tokens)[:, :-1][before]
        chances = (backbone.final_norm(states[:, -1]) @ backbone.output_matrix().T).softmax(1)
        difference = one_hot(tokens.ids[:, 1:][before], backbone.vocabulary) - chances
        indices = difference.abs().topk(entries, dim=1).indices
        sent = {
            "activations": {"activations": states},
            "difference": {"indices": indices, "values": disguise(difference.gather(1, indices), generator)},
        }
        for kind, tensors in sent.items():
            tensors["lengths"] = before.sum(1)
            ids = tuple(row.id for row in rows)
            messages.append(Message(kind, DEVICE, SERVER, sample_ids=ids, tensors=tensors))
    facts = {"positions": "all", "attention": "causal", "layers": list(range(1, len(backbone.blocks) + 1))}
    public = Public(facts, LABELS, str(micro.folders[family]))
    truth = Truth({}, {row.id: tuple(backbone.token_ids(row.text)) for row in VICTIM})
    return Planted(View(frozenset({SERVER}), messages, {}, {}), public, truth, None, ATTACKS["support"]())


def language(**settings: Any) -> Protocol:
    """Language modelling by the real protocol; what crosses does not depend on how long is trained."""
    return made("pae_lm", **{"entries": ENTRIES, "side": SideTraining(bottleneck=8, epochs=1, batch=12), **settings})


def u_shaped(micro: Micro, known: int = 1) -> Planted:
    """U-shaped split learning: pivots up, gradients of a secret head down, and a few known labels a class."""
    planted = from_run(micro, ATTACKS["gradient"](), pae())
    ids, pivots = planted.view.rows("activations", "activations")
    features = torch.nn.functional.layer_norm(pivots[:, -1], pivots.shape[2:])
    head = torch.randn(len(LABELS), features.shape[1], generator=torch.Generator().manual_seed(3)) / 10
    labels = torch.tensor([CLASSES[i] for i in ids])
    messages = [m for start in range(0, len(ids), 12) for m in _returned(ids, features, labels, head, start)]
    told = [row for label in LABELS for row in [row for row in VICTIM if row.label == label][:known]]
    public = Public({}, LABELS, known=tuple(Known(row.id, row.label) for row in told))
    view = View(frozenset({SERVER}), messages, {}, {})
    return replace(planted, view=view, public=public, protocol=None, truth=Truth(CLASSES, {}))


def _returned(
    ids: Sequence[str], features: torch.Tensor, labels: torch.Tensor, head: torch.Tensor, start: int
) -> list[Message]:
    """A batch's features (B, d) as the server sends them, and the gradients (B, d) of the mean loss that return."""
    part = slice(start, start + 12)
    rows, named = features[part], tuple(ids[part])
    gradients = ((rows @ head.T).softmax(1) - one_hot(labels[part], len(head))) @ head / len(rows)
    return [
        Message("features", SERVER, DEVICE, sample_ids=named, tensors={"features": rows}),
        Message("gradients", DEVICE, SERVER, sample_ids=named, tensors={"gradients": gradients}),
    ]


def federated(micro: Micro, family: str = "opt", **settings: Any) -> Planted:
    """Full tuning by plain gradient descent, an average behind every batch: what the federation server sees."""
    training = LoraTraining(**{"full": True, "epochs": 1, "batch": 1, "learning_rate": 1e-2, "rule": "sgd", **settings})
    protocol = made("fedlora", lora=training, fleet=Fleet(2), every=1)
    run = record(protocol, make_scene(micro.backbone(family), protocol=protocol))
    return planted_in(run, micro, ATTACKS["update"](), family, FEDERATION)


def summed(micro: Micro, attack: str = "unmix", selector: str = "last", longest: int = 8, asked: int = 12) -> Planted:
    """The states that stand for short texts, of which few are asked for: each takes a third of a second."""
    planted = from_run(micro, ATTACKS[attack](), pae(selector=selector, prompt=" about", longest=longest))
    targets = tuple(sample.id for sample in VICTIM[:asked])
    tokens = {sample: planted.truth.tokens[sample] for sample in targets}
    public = replace(planted.public, targets=targets)
    return replace(planted, public=public, truth=replace(planted.truth, tokens=tokens))


def lasting(micro: Micro) -> Planted:
    """The states of texts that are one of 24 tokens each, with nothing behind it."""
    backbone, texts = micro.backbone("opt"), [chr(ord("!") + at % 24) for at in range(len(VICTIM))]
    states = pivot_activations(backbone, texts, 1, "", "last")
    ids = tuple(row.id for row in VICTIM)
    message = Message("activations", DEVICE, SERVER, sample_ids=ids, tensors={"activations": states})
    facts = {"positions": "pivot", "selector": "last", "prompt": "", "longest": 1, "activations": "plain"}
    layers = list(range(1, len(backbone.blocks) + 1))
    alphabet = (Example("".join(reversed(texts[:24])), LABELS[0]),)
    public = Public({**facts, "layers": layers}, LABELS, str(micro.folders["opt"]), auxiliary=alphabet)
    tokens = {i: tuple(backbone.token_ids(text)) for i, text in zip(ids, texts, strict=True)}
    return Planted(View(frozenset({SERVER}), [message], {}, {}), public, Truth({}, tokens), None, ATTACKS["lookup"]())


def pooled(micro: Micro, *defences: Defence) -> Planted:
    """Pivots of texts that are all among the candidates, beside as many others."""
    planted = from_run(micro, ATTACKS["retrieve"](), pae(defences=defences))
    return replace(planted, public=replace(planted.public, candidates=tuple(row.text for row in VICTIM)))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "gradient": u_shaped,
    "lookup": lasting,
    "probe": lambda micro: from_run(micro, probe(variants=0, names=False), pae()),
    "read": lambda micro: named_by_keywords(from_run(micro, ATTACKS["read"](), pae(), "llama")),
    "retrieve": pooled,
    "search": lambda micro: summed(micro, "search", "mean", longest=3),
    "spelled": lambda micro: from_run(micro, ATTACKS["spelled"](), language()),
    "support": sparse,
    "unmix": summed,
    "update": federated,
}
