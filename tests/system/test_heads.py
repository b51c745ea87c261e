"""The frozen head: rows of the output matrix at the words of the labels, or a random matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sidelight.system.heads import linear, scores, verbaliser, words

from ..contracts.micro import FILLERS, VICTIM, Micro


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_the_verbaliser_is_the_centred_mean_of_its_words_rows(micro: Micro, family: str) -> None:
    backbone = micro.backbone(family)
    matrix = backbone.model.lm_head.weight.numpy()
    labels = ["card_arrival?", "music", "Two words"]
    rows = [
        np.mean([matrix[token] for token in backbone.tokenizer(text, add_special_tokens=False)["input_ids"]], 0)
        for text in (" card arrival", " music", " Two words")
    ]
    head = verbaliser(backbone, labels)
    np.testing.assert_allclose(head.numpy(), np.stack(rows) - np.mean(rows, 0), atol=1e-6)
    np.testing.assert_allclose(head.sum(0).numpy(), 0, atol=1e-6)
    assert not head.requires_grad


@pytest.mark.parametrize(
    ("label", "said"),
    [("card_arrival?", "card arrival"), ("a--b", "a b"), ("plain", "plain"), ("7", "7"), ("???", "???")],
)
def test_a_label_is_read_as_words(label: str, said: str) -> None:
    assert words(label) == said


def test_a_linear_head_comes_from_its_generator_at_unit_output_variance() -> None:
    head = linear(50, 400, torch.Generator().manual_seed(1))
    assert head.shape == (50, 400)
    assert torch.equal(head, linear(50, 400, torch.Generator().manual_seed(1)))
    assert not torch.equal(head, linear(50, 400, torch.Generator().manual_seed(2)))
    assert float(head.var() * 400) == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_verbaliser_scores_are_differences_of_the_models_own_logits(micro: Micro) -> None:
    """One-token labels: the score of a class is its token's logit minus the classes' mean."""
    backbone = micro.backbone("llama")
    single = [text for text in [*FILLERS, *"abdmnoqsty"] if len(backbone.token_ids(" " + text)) == 1][:3]
    assert len(single) == 3
    tokens = backbone.tokens([VICTIM[0].text], 48)
    logits = backbone.model(input_ids=tokens.ids).logits[0, -1, [backbone.token_ids(" " + t)[0] for t in single]]
    found = scores(verbaliser(backbone, single), backbone, backbone.activations(tokens)[:, -1, -1])
    torch.testing.assert_close(found[0], logits - logits.mean(), atol=1e-4, rtol=1e-4)
