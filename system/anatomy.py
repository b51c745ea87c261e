"""Where a transformers model keeps its parts, found by what they are and not by the family's name.

Shapes: d width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedConfig

from .errors import UsageError

FINAL_NORMS = ("final_layer_norm", "final_layernorm", "norm", "ln_f")
"""What the decoders' families call the norm between the last block and the output matrix."""


def is_causal(config: PreTrainedConfig) -> bool:
    """Whether a token sees only what stands before it: all families but those that fill in masked words.

    Raises UsageError for a model with an encoder and a decoder: neither half is a backbone by itself.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UsageError(
            f"a {config.model_type} model has an encoder and a decoder; give a model that is one of the two alone"
        )
    return type(config) not in MODEL_FOR_MASKED_LM_MAPPING or bool(getattr(config, "is_decoder", False))


def find_blocks(model: Any) -> nn.ModuleList:
    """The list of Transformer blocks of any transformers language model; raises UsageError where there is not one."""
    count = model.config.num_hidden_layers
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if len(lists) != 1:
        raise UsageError(_no_blocks(model, f"the {count} blocks"))
    return lists[0]


def find_parent(model: Any) -> tuple[nn.Module, str]:
    """The module that holds the list of blocks, and the list's attribute name."""
    blocks = find_blocks(model)
    for module in model.modules():
        for name, child in module.named_children():
            if child is blocks:
                return module, name
    raise UsageError(_no_blocks(model, "the blocks"))


def _no_blocks(model: Any, what: str) -> str:
    return f"cannot find {what} of {type(model).__name__}; give a model that is a decoder or an encoder alone"


def find_final_norm(model: Any) -> nn.Module:
    """The norm after a decoder's last block; the identity for a family that has none."""
    parent, _ = find_parent(model)
    for name in FINAL_NORMS:
        norm = getattr(parent, name, None)
        if isinstance(norm, nn.Module):
            return norm
    return nn.Identity()


def embeddings(model: Any) -> list[nn.Module]:
    """What makes the first block's input: all in the model's base that stands beside the blocks but the final norm."""
    behind = find_final_norm(model)
    return [module for module in _beside(model.base_model, find_blocks(model)) if module is not behind]


def _beside(module: nn.Module, blocks: nn.Module) -> Iterator[nn.Module]:
    """Modules off the path to the blocks."""
    for child in module.children():
        if any(part is blocks for part in child.modules()):
            if child is not blocks:
                yield from _beside(child, blocks)
        else:
            yield child


def behind_blocks(model: Any) -> list[nn.Module]:
    """What stands between the last block and the output matrix: a decoder's norm, an encoder's transform."""
    if is_causal(model.config):
        return [find_final_norm(model)]
    head = model.get_output_embeddings()
    aside = {head, *model.base_model.modules()}
    return [m for m in model.modules() if m not in aside and not list(m.children())]


def room(model: Any) -> int | None:
    """Positions of the longest text; None where there is no bound.

    Families that number positions from behind the padding's (RoBERTa) have fewer than their table has rows.
    """
    most: int | None = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings - module.padding_idx - 1)
    return most


class Readout:
    """An encoder's way from its last block to its output matrix: the family's own transform, whatever it is made of.

    The model is run on one token with one block, whose output is exchanged for the states. All weights are the model's.
    """

    def __init__(self, model: Any) -> None:
        shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
        blocks, head = find_blocks(model), model.get_output_embeddings()
        block = copy.deepcopy(blocks[-1], dict(shared))
        self._model = copy.deepcopy(model, {**shared, id(blocks): nn.ModuleList([block]), id(head): nn.Identity()})
        self._model.config.num_hidden_layers = 1
        self._states: torch.Tensor | None = None
        block.register_forward_hook(self._exchange)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """States (N, d) after the last block, as the output matrix takes them: (N, d)."""
        self._states = states.unsqueeze(0)
        ids = torch.zeros(1, 1, dtype=torch.int64, device=states.device)
        found: torch.Tensor = self._model(input_ids=ids).logits[0]
        return found

    def _exchange(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        return (self._states, *output[1:]) if isinstance(output, tuple) else self._states
