"""An adapter that was tuned elsewhere, put upon the public backbone by whoever holds its weights.

Shapes: B texts, P positions of one text, V vocabulary, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.public import Public
from ...system.released import FUSIONS, AdaptedModel, Example, form_of

ADAPTED = tuple(FUSIONS.values())
"""Values of the fact `fusion`."""


def untuned_model(
    public: Public, backbone: Backbone | None = None, generator: torch.Generator | None = None
) -> AdaptedModel:
    """The backbone under an adapter's first weights, which as yet change nothing; a classifier's head is drawn."""
    assert public.backbone is not None
    facts = public.facts
    form = form_of(facts, public.labels)
    return AdaptedModel(backbone or load_backbone(public.backbone), facts["adapter_config"], form, generator)


def released_model(tuned: Mapping[str, torch.Tensor], public: Public, backbone: Backbone | None = None) -> AdaptedModel:
    """The tuned model."""
    model = untuned_model(public, backbone)
    model.load(tuned)
    return model


def challenged_examples(public: Public) -> list[Example]:
    """Text and label of every example of the challenge."""
    return [(one.text, one.label) for one in public.challenge]


def class_answers(model: AdaptedModel, public: Public, texts: Sequence[str]) -> torch.Tensor:
    """Class scores (B, K) in the order of the public labels."""
    return model.scores(texts)[:, [model.form.classes.index(label) for label in public.labels]]


@torch.no_grad()
def both_chances(model: AdaptedModel, row: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Next-token probabilities (P, V) of a text's tokens, tuned and untuned, and what came (P,)."""
    tuned = model.next_logits([row])[0].softmax(1)
    with model.model.disable_adapter():
        own = model.next_logits([row])[0].softmax(1)
    return tuned, own, torch.tensor(row[1:], dtype=torch.int64)
