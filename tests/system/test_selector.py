"""Which position's states stand for a text."""

from __future__ import annotations

import pytest
import torch

from sidelight.system.errors import UsageError
from sidelight.system.selector import ONE_STATE, SELECTORS, Selector, require_fit, select

STATES = torch.tensor([[[1.0], [3.0], [8.0]], [[5.0], [99.0], [99.0]]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def test_first_last_and_mean_by_hand() -> None:
    assert SELECTORS == ("last", "first", "mean", "loss")
    assert select(STATES, MASK, "first").tolist() == [[1.0], [5.0]]
    assert select(STATES, MASK, "last").tolist() == [[8.0], [5.0]]
    assert select(STATES, MASK, "mean").tolist() == [[4.0], [5.0]]


def test_layers_and_width_are_kept() -> None:
    states = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    for selector, expected in (("first", states[:, 0]), ("last", torch.stack([states[0, 2], states[1, 0]]))):
        assert torch.equal(select(states, MASK, selector), expected)  # type: ignore[arg-type]
    torch.testing.assert_close(select(states, MASK, "mean"), torch.stack([states[0].mean(0), states[1, 0]]))


def test_padding_does_not_count() -> None:
    other = STATES.masked_fill(MASK.unsqueeze(2) == 0, -7.0)
    for selector in ONE_STATE:
        assert torch.equal(select(STATES, MASK, selector), select(other, MASK, selector))


def test_what_is_selected_keeps_no_other_position_in_memory() -> None:
    """Of one text as well, where a view would be contiguous."""
    for states, mask in ((STATES, MASK), (STATES[:1], MASK[:1])):
        for selector in ONE_STATE:
            found = select(states, mask, selector).untyped_storage()
            assert found.data_ptr() != states.untyped_storage().data_ptr()


def test_loss_tokens_are_not_one_state() -> None:
    with pytest.raises(UsageError, match="selector loss is many positions of a text and not one"):
        select(STATES, MASK, "loss")


@pytest.mark.parametrize(
    ("selector", "causal", "said"),
    [
        ("first", True, "selector first is for encoders, since the first token of a causal backbone sees only itself"),
        ("last", False, "selector last is for causal backbones"),
        ("loss", False, "selector loss is for causal backbones, since an encoder predicts no next token"),
    ],
)
def test_a_selector_that_tells_nothing_of_a_text_is_refused(selector: Selector, causal: bool, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        require_fit(selector, causal)
    assert "\n" not in str(refusal.value)


def test_what_tells_something_is_let_in() -> None:
    for selector, causal in (("last", True), ("mean", True), ("loss", True), ("first", False), ("mean", False)):
        require_fit(selector, causal)  # type: ignore[arg-type]
