"""States: what of a text crosses, as an attacker receives it and as it computes it for texts of its own.

A device may send states behind secret maps of their layers (fact `activations`). Where a control reveals them, they are
undone here, for every attack: `crossed_states` and `plain` give states as if plain, of which a projection has kept the
part in its directions, and `states_of` gives texts the same form. Behind maps that stay secret, `crossed_states` gives
what came, of whatever width, and `readable` says that it cannot be compared with texts.

Shapes: N samples, M texts, T positions, P positions that stand for a text (2 where all positions cross, their mean and
then the last; else 1), L layers that crossed, d width, k width behind maps, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.clipping import clipped
from ...system.codec import Precision, through
from ...system.forward import over_texts
from ...system.fusion import pack_positions, pivot_activations
from ...system.heads import words
from ...system.public import Public
from ...system.selector import Selector
from ...system.view import View

FACTS = frozenset(
    {"activations", "clip", "layers", "longest", "positions", "precision", "prompt", "selector", "spread"}
)
"""Public settings on which the states of a text depend."""
PLAIN, PROJECTED = "plain", "known projection"
"""Values of the fact `activations` whose states an attacker can compute for texts of its own."""
ROTATED = "rotated"
"""Behind a secret orthogonal map of each layer."""
WORDS = "label words"
"""Value of the fact `completion` where the prompt and the words of its class follow each text, as part of it."""
LARGEST = 1e6
"""Values that no backbone makes are cut to it: views may be hostile."""
TEMPLATES = (
    "{}",
    "i have a question about {}.",
    "please help me with {}",
    "my {} is wrong, what can i do?",
    "{} please",
    "there is a problem with {}. thank you.",
    "hello, {}",
    "about the {} of last week",
)
"""Texts that a class name is read in: alone it lies far from whatever people write."""


class Form(NamedTuple):
    """How a text becomes states."""

    longest: int
    prompt: str
    selector: Selector
    positions: str = "pivot"
    precision: Precision = "fp32"
    clip: float = 0.0
    """The largest length of a layer's state; 0 where none is clipped."""
    spread: float = 0.0
    """Standard deviation of the noise that the device adds to every value."""


def form_of(facts: Mapping[str, Any]) -> Form:
    """As a run's activations cross."""
    where, precision = facts.get("positions", "pivot"), facts.get("precision", "fp32")
    noise = facts.get("clip", 0.0), facts.get("spread", 0.0)
    return Form(facts["longest"], facts["prompt"], facts["selector"], where, cast(Precision, precision), *noise)


# --- behind maps ----------------------------------------------------------------------------------------------


def readable(public: Public) -> bool:
    """Whether an attacker can compute what would cross of texts of its own."""
    return public.backbone is not None and public.facts.get("activations", PLAIN) in (PLAIN, PROJECTED)


def share_known(facts: Mapping[str, Any]) -> bool:
    """Whether the last state, from which the device computes the backbone's share, crosses as it is."""
    return (facts.get("activations", PLAIN), facts.get("last_layer", "sent")) == (PLAIN, "sent")


def plain(received: torch.Tensor, public: Public) -> torch.Tensor:
    """Received states (N, L, k) as if no map had been there (N, L, d), where a control reveals it; else as received."""
    maps = _revealed(public)
    return received if maps is None else torch.einsum("nlk,lkd->nld", received, maps)


def as_sent(states: torch.Tensor, public: Public) -> torch.Tensor:
    """Plain states (N, L, d) as a side network behind the maps reads them (N, L, k), without noise or rounding."""
    maps, clip = _revealed(public), public.facts.get("clip", 0.0)
    states = clipped(states, clip) if clip else states
    return states if maps is None else torch.einsum("nld,lkd->nlk", states, maps)


def within(states: torch.Tensor, public: Public) -> torch.Tensor:
    """The part of states (N, L, d) that revealed maps keep: all of it behind rotations."""
    maps = _revealed(public)
    if maps is None or maps.shape[1] == maps.shape[2]:
        return states
    return plain(torch.einsum("nld,lkd->nlk", states, maps), public)


def blurred(states: torch.Tensor, spread: float, generator: torch.Generator | None) -> torch.Tensor:
    """States with noise as the device adds it; as they are where it adds none, or without a generator."""
    if not spread or generator is None:
        return states
    return states + spread * torch.randn(states.shape, generator=generator)


def noise_of(form: Form, states: torch.Tensor) -> torch.Tensor:
    """The variance that rounding and noise add to a value of plain states (..., d)."""
    return (through(states, form.precision) - states).square().mean() + form.spread**2


def _revealed(public: Public) -> torch.Tensor | None:
    """(L, k, d) with orthonormal rows."""
    return None if public.keys is None else public.keys.get("activations")


# --- as they were received ------------------------------------------------------------------------------------


def crossed_states(view: View, public: Public) -> tuple[tuple[str, ...], torch.Tensor]:
    """Ids and states (N, P L, d) of all samples as they first crossed, in the form of `states_of`."""
    form = public.facts.get("positions", "pivot")
    found: dict[str, torch.Tensor] = {}
    for item in view.sequences():
        if item.sample_id not in found:
            found[item.sample_id] = standing(item.activations, form).flatten(0, 1)
    if not found:
        return (), torch.empty(0, len(public.facts["layers"]), 0)
    received = torch.stack(list(found.values())).clamp(-LARGEST, LARGEST)
    return tuple(found), plain(received, public)


def asked_states(view: View, public: Public) -> tuple[tuple[str, ...], torch.Tensor]:
    """The same of the samples that are asked for; of all where none is named."""
    ids, states = crossed_states(view, public)
    wanted = frozenset(public.targets or ids)
    rows = [row for row, sample in enumerate(ids) if sample in wanted]
    return tuple(ids[row] for row in rows), states[rows]


def exactly_sent(facts: Mapping[str, Any]) -> bool:
    """Whether a text's states cross up to rounding that tells texts apart: what a certificate needs."""
    return facts.get("precision", "fp32") in ("fp32", "fp16") and not facts.get("spread", 0.0)


def standing(positions: torch.Tensor, form: str) -> torch.Tensor:
    """What stands for a text, (P, L, d), of its positions that crossed (T, L, d)."""
    return torch.stack([positions.mean(0), positions[-1]]) if form == "all" else positions[-1:]


# --- of texts -------------------------------------------------------------------------------------------------


def auxiliary_states(public: Public, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """States (M, P L, d) of the auxiliary texts as they would cross, and their labels (M,); none without such texts."""
    labels = torch.tensor([public.labels.index(example.label) for example in public.auxiliary], dtype=torch.int64)
    return states_of([example.text for example in public.auxiliary], public, generator), labels


def class_name_states(public: Public) -> torch.Tensor:
    """States (K, P L, d) of the class names: the mean over what would cross of each name in every template."""
    found = states_of(name_texts(public.labels), public)
    return found.view(len(TEMPLATES), len(public.labels), *found.shape[1:]).mean(0)


def name_texts(labels: Sequence[str]) -> list[str]:
    """The class names in every template, template by template."""
    names = [words(label) for label in labels]
    return [template.format(name) for template in TEMPLATES for name in names]


def states_of(
    texts: Sequence[str],
    public: Public,
    generator: torch.Generator | None = None,
    backbone: Backbone | None = None,
) -> torch.Tensor:
    """What would cross of texts (M, P L, d): all layers of the first position that stands for a text, then the next.

    Needs the public item backbone and the facts layers, longest, prompt and selector. The generator draws the noise
    that a device would add; there is none without it. Another backbone stands for the public one where it is given.
    """
    assert public.backbone is not None
    backbone, layers = backbone or load_backbone(public.backbone), public.facts["layers"]
    if not texts:
        return torch.empty(0, len(layers), backbone.width)
    form = form_of(public.facts)
    found = of_layers(block_states(backbone, texts, form, max(layers)), layers).flatten(1, 2)
    return within(blurred(found, form.spread, generator), public)


@torch.no_grad()
def block_states(backbone: Backbone, texts: Sequence[str], form: Form, deepest: int | None = None) -> torch.Tensor:
    """States after every block up to the deepest (M, blocks, P, d), as they would cross; there must be a text."""
    return over_texts(lambda some: _block_states(backbone, some, form, deepest), texts)


def _block_states(backbone: Backbone, texts: list[str], form: Form, deepest: int | None) -> torch.Tensor:
    if form.positions != "all":
        pivots = pivot_activations(backbone, texts, form.longest, form.prompt, form.selector)
        return through(clipped(pivots, form.clip) if form.clip else pivots, form.precision).unsqueeze(2)
    tokens = backbone.tokens(texts, form.longest, form.prompt)
    packed, lengths = pack_positions(backbone.activations(tokens, deepest), tokens)
    parts = through(packed, form.precision).split(lengths.tolist())
    return torch.stack([standing(part, "all").transpose(0, 1) for part in parts])


def of_layers(found: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """States (M, P, L, d) of some blocks, the first of which is 1, from those of all (M, blocks, P, d)."""
    return found[:, [layer - 1 for layer in layers]].transpose(1, 2)


def features(states: torch.Tensor) -> torch.Tensor:
    """Finite rows (N, F) of all layers end to end; whoever compares them standardises each column."""
    return states.flatten(1).float().nan_to_num(0.0, 0.0, 0.0)
