"""A part of the backbone: the blocks below a cut, and the blocks above it; frozen, tuned by LoRA, or tuned in full.

The low-rank updates are peft's (LoRA, arXiv 2106.09685), on every linear map of the blocks.

Shapes: B texts, T positions, d width, L blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from .anatomy import behind_blocks, embeddings, find_blocks, find_final_norm, find_parent
from .backbone import Backbone, Stop, Tokens, record_blocks, run
from .errors import UsageError
from .selector import Selector, select

LORA_ALPHA = 2
"""LoRA's alpha over its rank."""
FULL = -1
"""In place of a rank: every weight of the part is tuned."""


def require_exact(backbone: Backbone) -> None:
    """Raises UsageError where a part cannot be trained, since its weights are not in float32."""
    if backbone.weights != "fp32":
        raise UsageError(
            f"a part of {backbone.name} is trained here, and its weights are {backbone.weights}; give weights fp32, or "
            f"a protocol that leaves the backbone as it is"
        )


class Bottom(nn.Module):
    """Embeddings and the first `cut` blocks; frozen where `rank` is 0, tuned whole where it is FULL."""

    def __init__(self, backbone: Backbone, cut: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        if rank:
            require_exact(backbone)
        self.model = backbone.model if rank == 0 else _with_blocks(backbone.model, slice(cut))
        self.blocks = list(find_blocks(self.model))[:cut]
        tune(self.model, self.blocks, embeddings(self.model), rank, generator)

    def forward(self, tokens: Tokens) -> torch.Tensor:
        """States after block `cut`, before any final norm: (B, T, d)."""
        with record_blocks(self.blocks) as taken:
            run(self.model, tokens)
        return taken[-1].float()


class Top(nn.Module):
    """The blocks after `cut` and what follows them before an output matrix.

    Frozen where `rank` is 0, tuned whole where it is FULL.
    """

    def __init__(self, backbone: Backbone, cut: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        require_exact(backbone)
        table = backbone.model.get_input_embeddings()
        # one row of it makes the states that `_inject` replaces
        stand_in = {id(table): nn.Embedding.from_pretrained(table.weight[:1].clone())}
        self.model = _with_blocks(backbone.model, slice(cut, None), stand_in)
        self._states: torch.Tensor | None = None
        self.drop(0)
        self._causal = backbone.causal
        tune(self.model, list(find_blocks(self.model)), behind_blocks(self.model), rank, generator)

    def drop(self, count: int) -> None:
        """Leave away the first blocks: the next one takes states from then on."""
        parent, name = find_parent(self.model)
        above = nn.ModuleList(list(find_blocks(self.model))[count:])
        setattr(parent, name, above)
        self.model.config.num_hidden_layers = len(above)
        above[0].register_forward_pre_hook(self._inject, with_kwargs=True)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States (B, T, d) after block `cut` to states after the final norm, (B, T, d)."""
        self._states = states
        # any token stands in: the first remaining block takes `states` in place of its embedding
        tokens = Tokens(torch.zeros_like(mask), mask)
        found = self._normed(tokens)
        self._states = None
        return found

    def _normed(self, tokens: Tokens) -> torch.Tensor:
        if not self._causal:
            # the output matrix is left away: what comes out is what it would take
            transformed: torch.Tensor = run(self.model, tokens).logits
            return transformed
        with record_blocks(list(find_blocks(self.model))) as taken:
            run(self.model, tokens)
        normed: torch.Tensor = find_final_norm(self.model)(taken[-1])
        return normed

    def _inject(self, _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if inputs:
            return (self._states, *inputs[1:]), named
        return inputs, {**named, "hidden_states": self._states}


class SelectedTop(nn.Module):
    """The blocks above a cut and the selected position: (B, T, d) states to (B, d)."""

    def __init__(self, backbone: Backbone, cut: int, rank: int, selector: Selector, generator: torch.Generator) -> None:
        super().__init__()
        self.top = Top(backbone, cut, rank, generator)
        self._selector = selector

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, d) after the cut to what a head reads (B, d)."""
        return select(self.top(states, mask), mask, self._selector)

    def state(self) -> dict[str, torch.Tensor]:
        """What training changed: the updates."""
        return tuned_state(self.top)


class ScoredTop(SelectedTop):
    """The blocks above a cut, the selected position, and a trainable head: (B, T, d) states to class scores."""

    def __init__(
        self,
        backbone: Backbone,
        cut: int,
        rank: int,
        head: torch.Tensor,
        selector: Selector,
        generator: torch.Generator,
    ) -> None:
        super().__init__(backbone, cut, rank, selector, generator)
        self.head = nn.Parameter(head.clone())
        self.bias = nn.Parameter(torch.zeros(len(head)))

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, d) after the cut to class scores (B, K)."""
        return super().forward(states, mask) @ self.head.T + self.bias

    def state(self) -> dict[str, torch.Tensor]:
        """What training changed: the updates, `head` (K, d) and `bias` (K,)."""
        return {**super().state(), "head": self.head.detach().clone(), "bias": self.bias.detach().clone()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state; raises KeyError where a tensor is missing."""
        load_tuned(self.top, state)
        self.head.data, self.bias.data = state["head"].clone(), state["bias"].clone()


def stored_top(backbone: Backbone, cut: int, selector: Selector, state: Mapping[str, torch.Tensor]) -> ScoredTop:
    """The tuned top that a state describes; raises KeyError where an update is missing."""
    tuned = ScoredTop(backbone, cut, _rank(state), state["head"], selector, torch.Generator())
    tuned.load(state)
    return tuned


def stored_bottom(backbone: Backbone, cut: int, state: Mapping[str, torch.Tensor]) -> Bottom:
    """The tuned bottom that a state describes; raises KeyError where an update is missing."""
    tuned = Bottom(backbone, cut, _rank(state), torch.Generator())
    load_tuned(tuned, state)
    return tuned


def stored_middle(backbone: Backbone, cut: int, selector: Selector, state: Mapping[str, torch.Tensor]) -> SelectedTop:
    """The same without a head."""
    tuned = SelectedTop(backbone, cut, _rank(state), selector, torch.Generator())
    load_tuned(tuned.top, state)
    return tuned


def _rank(state: Mapping[str, torch.Tensor]) -> int:
    return next((t.shape[0] for name, t in state.items() if "lora_A" in name), FULL)


def _with_blocks(model: Any, kept: slice, instead: Mapping[int, nn.Module] = MappingProxyType({})) -> Any:
    """A copy of some blocks and what stands beside them, without the language-model head.

    Modules in `instead`, by identity, are replaced and never copied: a part takes the memory of what it holds.
    """
    blocks, head = find_blocks(model), model.get_output_embeddings()
    chosen = copy.deepcopy(nn.ModuleList(list(blocks)[kept]))
    made = copy.deepcopy(model, {id(blocks): chosen, id(head): nn.Identity(), **instead})
    made.config.num_hidden_layers = len(chosen)
    return made


def tune(
    model: Any, blocks: Sequence[nn.Module], beside: Sequence[nn.Module], rank: int, generator: torch.Generator
) -> None:
    """Let blocks be trained, in place: by low-rank updates on their linear maps, or whole, with what stands beside."""
    if not rank:
        return
    if rank == FULL:
        for part in (*blocks, *beside):
            part.requires_grad_(True)
        return
    from peft import LoraConfig, inject_adapter_in_model  # takes a second to load: only who tunes waits for it

    inside = {id(m) for block in blocks for m in block.modules()}
    maps = {n: m for n, m in model.named_modules() if id(m) in inside and hasattr(m, "weight") and m.weight.dim() == 2}
    config = LoraConfig(
        r=rank,
        lora_alpha=LORA_ALPHA * rank,
        target_modules=list(maps),
        lora_dropout=0.0,
        fan_in_fan_out=all(isinstance(module, Conv1D) for module in maps.values()),  # GPT-2 keeps its maps so
    )
    with torch.random.fork_rng(devices=[]):  # peft draws factors of its own, which are replaced
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_A" in name:
            spread = parameter.shape[1] ** -0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * spread


def tuned_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors alone, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def load_tuned(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Put stored tensors in the place of the trainable ones; raises KeyError where one is missing."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.data = state[name].clone()


@contextmanager
def record_inputs(maps: Mapping[str, nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """Collects what enters each module, by name, in the next forward pass, which ends once all are there.

    Modules that share an input are given the same tensor.
    """
    taken: dict[str, torch.Tensor] = {}

    def take(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        taken[name] = inputs[0]
        if len(taken) == len(maps):
            raise Stop

    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: take(name, inputs))
        for name, module in maps.items()
    ]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()
