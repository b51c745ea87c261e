"""States: what of a text crosses, as an attacker receives it and as it computes it for texts of its own.

Shapes: N samples, M texts, T positions, P positions that stand for a text (2 where all positions cross, their mean and
then the last; else 1), L layers that crossed, d width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import Precision, through
from ...system.fusion import pack_positions, pivot_activations
from ...system.heads import words
from ...system.public import Public
from ...system.selector import Selector
from ...system.view import View

FACTS = frozenset({"layers", "longest", "positions", "precision", "prompt", "selector"})
"""Public settings on which the states of a text depend."""
CHUNK = 64
"""Texts of one forward pass."""
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


def form_of(facts: Mapping[str, Any]) -> Form:
    """As a run's activations cross."""
    where, precision = facts.get("positions", "pivot"), facts.get("precision", "fp32")
    return Form(facts["longest"], facts["prompt"], facts["selector"], where, cast(Precision, precision))


# --- as they were received ------------------------------------------------------------------------------------


def crossed_states(view: View, public: Public) -> tuple[tuple[str, ...], torch.Tensor]:
    """Ids and states (N, P L, d) of all samples as they first crossed, in the form of `states_of`."""
    form = public.facts.get("positions", "pivot")
    found: dict[str, torch.Tensor] = {}
    for item in view.sequences():
        if item.sample_id not in found:
            found[item.sample_id] = _standing(item.activations, form).flatten(0, 1)
    width = len(public.facts["layers"])
    return tuple(found), torch.stack(list(found.values())) if found else torch.empty(0, width, 0)


def _standing(positions: torch.Tensor, form: str) -> torch.Tensor:
    """(T, L, d) to (P, L, d)."""
    return torch.stack([positions.mean(0), positions[-1]]) if form == "all" else positions[-1:]


# --- of texts -------------------------------------------------------------------------------------------------


def auxiliary_states(public: Public) -> tuple[torch.Tensor, torch.Tensor]:
    """States (M, P L, d) of the auxiliary texts as they would cross, and their labels (M,); none without such texts."""
    labels = torch.tensor([public.labels.index(example.label) for example in public.auxiliary], dtype=torch.int64)
    return states_of([example.text for example in public.auxiliary], public), labels


def class_name_states(public: Public) -> torch.Tensor:
    """States (K, P L, d) of the class names: the mean over what would cross of each name in every template."""
    found = states_of(name_texts(public.labels), public)
    return found.view(len(TEMPLATES), len(public.labels), *found.shape[1:]).mean(0)


def name_texts(labels: Sequence[str]) -> list[str]:
    """The class names in every template, template by template."""
    names = [words(label) for label in labels]
    return [template.format(name) for template in TEMPLATES for name in names]


def states_of(texts: Sequence[str], public: Public) -> torch.Tensor:
    """What would cross of texts (M, P L, d): all layers of the first position that stands for a text, then the next.

    Needs the public item backbone and the facts layers, longest, prompt and selector.
    """
    assert public.backbone is not None
    backbone, layers = load_backbone(public.backbone), public.facts["layers"]
    if not texts:
        return torch.empty(0, len(layers), backbone.width)
    found = block_states(backbone, texts, form_of(public.facts), max(layers))
    return of_layers(found, layers).flatten(1, 2)


@torch.no_grad()
def block_states(backbone: Backbone, texts: Sequence[str], form: Form, deepest: int | None = None) -> torch.Tensor:
    """States after every block up to the deepest (M, blocks, P, d), as they would cross; there must be a text."""
    parts = [_block_states(backbone, list(texts[i : i + CHUNK]), form, deepest) for i in range(0, len(texts), CHUNK)]
    return torch.cat(parts)


def _block_states(backbone: Backbone, texts: list[str], form: Form, deepest: int | None) -> torch.Tensor:
    if form.positions != "all":
        pivots = pivot_activations(backbone, texts, form.longest, form.prompt, form.selector)
        return through(pivots, form.precision).unsqueeze(2)
    tokens = backbone.tokens(texts, form.longest, form.prompt)
    packed, lengths = pack_positions(backbone.activations(tokens, deepest), tokens)
    parts = through(packed, form.precision).split(lengths.tolist())
    return torch.stack([_standing(part, "all").transpose(0, 1) for part in parts])


def of_layers(found: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """States (M, P, L, d) of some blocks, the first of which is 1, from those of all (M, blocks, P, d)."""
    return found[:, [layer - 1 for layer in layers]].transpose(1, 2)


def features(states: torch.Tensor) -> torch.Tensor:
    """Finite rows (N, F) of all layers end to end; whoever compares them standardises each column."""
    return states.flatten(1).float().nan_to_num(0.0, 0.0, 0.0)
