"""A model cut in two: together the whole, with zero updates the frozen one, and stored updates put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidelight.system.backbone import Backbone, run
from sidelight.system.partial import Bottom, ScoredTop, Top, load_tuned, record_inputs, stored_top, tuned_state

from ..contracts.micro import VICTIM, Micro

TEXTS = [sample.text for sample in VICTIM[:5]]
CUTS = [("opt", 1), ("opt", 2), ("llama", 1)]


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def whole(backbone: Backbone, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """transformers' own states after the final norm."""
    states: torch.Tensor = backbone.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


@pytest.mark.parametrize("rank", [0, 2], ids=["frozen", "zero-updates"])
@pytest.mark.parametrize(("family", "cut"), CUTS)
@torch.no_grad()
def test_top_of_bottom_is_the_whole_model(micro: Micro, family: str, cut: int, rank: int) -> None:
    """LoRA's second factor starts at zero, so fresh updates change nothing."""
    backbone = micro.backbone(family)
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    states = Bottom(backbone, cut, rank, drawn())(tokens)
    kept = tokens.mask.bool()
    torch.testing.assert_close(states[kept], backbone.activations(tokens, cut)[:, :, -1][kept], atol=1e-5, rtol=1e-5)
    found = Top(backbone, cut, rank, drawn())(states, tokens.mask)
    torch.testing.assert_close(found[kept], whole(backbone, *tokens)[kept], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("family", "cut"), CUTS)
def test_gradients_reach_the_cut_and_the_updates_alone(micro: Micro, family: str, cut: int) -> None:
    backbone = micro.backbone(family)
    tokens = backbone.tokens(TEXTS, 48)
    top = Top(backbone, cut, 2, drawn())
    states = Bottom(backbone, cut, 0, drawn())(tokens).requires_grad_()
    top(states, tokens.mask)[tokens.mask.bool()].square().sum().backward()
    assert states.grad is not None
    assert (states.grad.abs().sum(2) > 0)[tokens.mask.bool()].all()
    moved = {name for name, p in top.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {name for name, _ in top.named_parameters() if "lora_B" in name}
    assert not any(p.requires_grad for p in backbone.model.parameters())


@torch.no_grad()
def test_updates_change_their_copy_and_never_the_backbone(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    tokens = backbone.tokens(TEXTS, 48)
    before = backbone.activations(tokens)
    bottom = Bottom(backbone, 2, 2, drawn())
    for name, parameter in bottom.named_parameters():
        if "lora_B" in name:
            parameter.fill_(0.1)
    assert not torch.allclose(bottom(tokens), before[:, :, 1], atol=1e-2)
    assert torch.equal(backbone.activations(tokens), before)


@pytest.mark.parametrize(("family", "cut"), CUTS)
def test_every_linear_map_of_the_part_is_updated_and_nothing_else(micro: Micro, family: str, cut: int) -> None:
    """OPT has six linear maps a block, Llama seven; each has two factors."""
    backbone = micro.backbone(family)
    maps = {"opt": 6, "llama": 7}[family]
    blocks = len(backbone.blocks)
    bottom, top = Bottom(backbone, cut, 3, drawn()), Top(backbone, cut, 3, drawn())
    assert len(tuned_state(bottom)) == 2 * maps * cut
    assert len(tuned_state(top)) == 2 * maps * (blocks - cut)
    for part in (bottom, top):
        trained = {name for name, p in part.named_parameters() if p.requires_grad}
        assert trained == set(tuned_state(part))
        assert all(t.shape[0 if "lora_A" in name else 1] == 3 for name, t in tuned_state(part).items())


def test_updates_come_from_the_generator_alone(micro: Micro) -> None:
    backbone = micro.backbone("llama")
    one, two, other = (tuned_state(Bottom(backbone, 1, 2, drawn(seed))) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [name for name in one if torch.equal(one[name], other[name])] == [name for name in one if "lora_B" in name]


def perturbed(backbone: Backbone, cut: int) -> ScoredTop:
    head = torch.randn(4, backbone.width, generator=drawn(2))
    made = ScoredTop(backbone, cut, 2, head, "last", drawn(3))
    for parameter in made.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=drawn(4))
    return made


@pytest.mark.parametrize(("family", "cut"), CUTS)
@torch.no_grad()
def test_a_stored_top_gives_the_same_scores(micro: Micro, family: str, cut: int) -> None:
    backbone = micro.backbone(family)
    tokens = backbone.tokens(TEXTS, 48)
    states = Bottom(backbone, cut, 0, drawn())(tokens)
    tuned = perturbed(backbone, cut)
    again = stored_top(backbone, cut, "last", tuned.state())
    assert torch.equal(again(states, tokens.mask), tuned(states, tokens.mask))
    fresh = ScoredTop(backbone, cut, 2, tuned.head, "last", drawn(3))
    assert not torch.allclose(fresh(states, tokens.mask), tuned(states, tokens.mask), atol=1e-2)


@torch.no_grad()
def test_scores_are_the_heads_at_the_selected_position(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    tokens = backbone.tokens(TEXTS, 48)
    head = torch.randn(4, backbone.width, generator=drawn(2))
    states = Bottom(backbone, 2, 0, drawn())(tokens)
    found = ScoredTop(backbone, 2, 0, head, "last", drawn())(states, tokens.mask)
    expected = torch.stack([row[n - 1] for row, n in zip(whole(backbone, *tokens), tokens.mask.sum(1), strict=True)])
    torch.testing.assert_close(found, expected @ head.T, atol=1e-4, rtol=1e-4)


def test_a_state_without_one_update_is_refused(micro: Micro) -> None:
    bottom = Bottom(micro.backbone("opt"), 1, 2, drawn())
    state = tuned_state(bottom)
    missing = sorted(state)[0]
    with pytest.raises(KeyError, match="lora_A"):
        load_tuned(bottom, {name: t for name, t in state.items() if name != missing})


def test_a_state_is_a_copy(micro: Micro) -> None:
    tuned = perturbed(micro.backbone("opt"), 1)
    state = tuned.state()
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.zero_()
    assert all(t.any() for t in state.values())


@pytest.mark.parametrize("family", ["opt", "llama"])
@torch.no_grad()
def test_recorded_inputs_are_those_that_make_the_maps_outputs_and_maps_of_one_input_share_it(
    micro: Micro, family: str
) -> None:
    backbone = micro.backbone(family)
    attention: Any = backbone.blocks[1].self_attn
    maps = {"q": attention.q_proj, "v": attention.v_proj}
    made: dict[str, torch.Tensor] = {}
    attention.v_proj.register_forward_hook(lambda _module, _inputs, output: made.update(v=output))
    tokens = backbone.tokens(TEXTS, 48)
    backbone.activations(tokens)
    expected = made.pop("v")
    with record_inputs(maps) as taken:
        run(backbone.model, tokens)
    assert not made  # the pass ended before the last map was run
    assert taken["q"] is taken["v"]
    torch.testing.assert_close(attention.v_proj(taken["v"]), expected)
