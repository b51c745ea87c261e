"""The frozen pretrained model: loading, tokens, and the hidden state after any block.

Shapes: B texts, T positions, L blocks, d width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, DynamicCache
from transformers.utils import logging

from .anatomy import Readout, find_blocks, find_final_norm, is_causal, room
from .errors import UsageError
from .forward import Stop, Tokens, record_blocks, run
from .references import BACKBONES, TINY, hub_answers, local_folder, refusal
from .selector import Selector, select
from .weights import Weights, pack_maps, require_known

__all__ = ["BACKBONES", "TINY", "Backbone", "Stop", "Tokens", "load_backbone", "local_folder", "record_blocks", "run"]

SIDE_BY_SIDE = 256
"""Candidates that stand behind one prefix in a pass: their mask grows with the square."""

PROBE = "a"
"""Some text, to see which special tokens a tokenizer puts around one."""


class Backbone:
    """A causal language model, or an encoder that fills in masked words, with its tokenizer; frozen, no dropout."""

    def __init__(self, model: Any, tokenizer: Any, name: str, digest: str, weights: Weights = "fp32") -> None:
        self.model = (model.float() if weights == "fp32" else model).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name, self.digest, self.weights = name, digest, weights
        self.causal = is_causal(model.config)
        """Whether a token sees only what stands before it."""
        self.blocks = find_blocks(model)
        self.width = int(model.config.hidden_size)
        self.vocabulary = int(model.config.vocab_size)
        self.prefix, self.suffix = self._around()
        """Special tokens that open every text, and those that close it: only encoders have the latter."""
        self._readout: tuple[torch.device, Readout] | None = None

    def _around(self) -> tuple[list[int], list[int]]:
        if self.causal:
            return list(self.tokenizer("")["input_ids"]), []
        whole, own = list(self.tokenizer(PROBE)["input_ids"]), self.token_ids(PROBE)
        start = next(i for i in range(len(whole)) if whole[i : i + len(own)] == own)
        return whole[:start], whole[start + len(own) :]

    def token_ids(self, text: str, longest: int | None = None) -> list[int]:
        """A text's own tokens, without special ones, cut to the longest allowed."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[:longest]

    def tokens(self, texts: Sequence[str], longest: int, prompt: str = "") -> Tokens:
        """Opening tokens, at most `longest` tokens of text, then the prompt's tokens and the closing ones."""
        return self.framed([self.token_ids(text, longest) for text in texts], prompt)

    def framed(self, rows: Sequence[Sequence[int]], prompt: str = "") -> Tokens:
        """The same of texts that are given by their own tokens."""
        tail = [*self.token_ids(prompt), *self.suffix]
        return self.pad([[*self.prefix, *row, *tail] for row in rows])

    def require_room(self, longest: int, prompt: str) -> None:
        """Raises UsageError where the model has fewer positions than texts of so many tokens need."""
        around = len(self.prefix) + len(self.token_ids(prompt)) + len(self.suffix)
        there = room(self.model)
        if there is not None and around + longest > there:
            raise UsageError(
                f"longest is {longest} and {self.name} has {there} positions, of which {around} are for what stands "
                f"around a text; give at most {there - around}"
            )

    def pad(self, rows: Sequence[Sequence[int]]) -> Tokens:
        """Rows of token ids, padded on the right to the longest."""
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), max(longest, 1), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[i, : len(row)] = 1
        return Tokens(ids, mask)

    def activations(self, tokens: Tokens, last: int | None = None, cache: Any = None) -> torch.Tensor:
        """Hidden states after blocks 1 to `last` (default L), before the final norm: (B, T, last, d).

        With a cache, `tokens.ids` holds only the new positions and `tokens.mask` the old ones as well; the keys
        and values of the new positions are appended to the cache.
        """
        count = len(self.blocks) if last is None else last
        with record_blocks(list(self.blocks)[:count]) as taken:
            run(self.model, tokens, cache)
        return torch.stack(taken, dim=2).float()

    def pivots(self, tokens: Tokens, selector: Selector, layers: Sequence[int] | None = None) -> torch.Tensor:
        """The selected position's state after every block, or after some of them, numbered from 1: (B, L, d).

        The position is selected as each block ends, so that no block's states (B, T, d) outlive the next block.
        """
        wanted = range(1, len(self.blocks) + 1) if layers is None else layers

        def selected(states: torch.Tensor) -> torch.Tensor:
            return select(states.float(), tokens.mask, selector)

        with record_blocks(list(self.blocks)[: max(wanted)], selected) as taken:
            run(self.model, tokens)
        return torch.stack([taken[layer - 1] for layer in wanted], dim=1)

    def branches(self, prefixes: Sequence[Sequence[int]], candidates: torch.Tensor, last: int) -> torch.Tensor:
        """States after block `last` of every candidate next token behind its prefix: (B, C) ids to (B, C, d).

        Prefixes are equally long. Each is run once; its candidates stand side by side behind it, at the same position,
        and a mask lets each see the prefix and itself alone.
        """
        depth = len(prefixes[0])
        cache = DynamicCache()
        if depth:
            self.activations(self.pad(prefixes), last, cache)
        states = []
        for part in candidates.split(SIDE_BY_SIDE, dim=1):
            texts, count = part.shape
            mask = torch.full((texts, 1, count, depth + count), torch.finfo(torch.float32).min)
            mask[..., :depth] = 0.0
            mask[..., depth:].diagonal(dim1=2, dim2=3).zero_()
            places = torch.full((texts, count), depth)
            with record_blocks(list(self.blocks)[:last]) as taken:
                run(self.model, Tokens(part, mask), cache, places)
            cache.crop(-count)
            states.append(taken[-1])
        return torch.cat(states, dim=1)

    @property
    def head_width(self) -> int:
        """Width of what a head reads: the states' own, or what an encoder's transform makes of them."""
        return self.width if self.causal else int(self.model.get_output_embeddings().weight.shape[1])

    def next_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """What may follow rows (B, T) of equally many tokens, opening ones included: (B, vocabulary).

        An encoder fills in a mask behind them. Raises UsageError where its tokenizer has none.
        """
        at = ids.shape[1]
        if self.causal:
            at -= 1
        elif self.tokenizer.mask_token_id is None:
            raise UsageError(f"the tokenizer of {self.name} has no mask token; give an encoder with its own tokenizer")
        else:
            tail = torch.tensor([self.tokenizer.mask_token_id, *self.suffix], device=ids.device)
            ids = torch.cat([ids, tail.expand(len(ids), -1)], 1)
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, at]
        return logits.float()

    def final_norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the output matrix expects of states (..., d) after the last block: normed, or as encoders transform.

        The last dimension is `head_width`.
        """
        states = hidden.to(torch.bfloat16 if self.weights == "bf16" else torch.float32)
        if self.causal:
            normed: torch.Tensor = find_final_norm(self.model)(states)
            return normed.float()
        return self._transformed(states.reshape(-1, self.width)).reshape(*hidden.shape[:-1], -1).float()

    def _transformed(self, states: torch.Tensor) -> torch.Tensor:
        if self._readout is None or self._readout[0] != self.model.device:
            self._readout = self.model.device, Readout(self.model)
        return self._readout[1](states)

    def output_matrix(self) -> torch.Tensor:
        """The language-model head (vocabulary, head width), as its weights are held."""
        weight: torch.Tensor = self.model.get_output_embeddings().weight
        if weight.shape[1] != self.head_width:
            raise UsageError(f"{self.name} projects its states before the output matrix; use a linear head instead")
        return weight


def load_backbone(reference: str, weights: Weights = "fp32") -> Backbone:
    """A backbone by packaged name, local folder or Hugging Face id; raises UsageError in one sentence.

    The digest is of the weights as they are held: an attacker who loads others computes other states (weights.py).
    """
    require_known(weights)
    folder = local_folder(reference)
    stored = folder is not None or not hub_answers(reference)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder or reference, local_files_only=stored)
        model = _load_model(str(folder or reference), stored, weights)
    except UsageError:
        raise
    except Exception as error:  # hub, file and format errors have no common class
        raise refusal(reference, folder, error) from None
    name = reference if folder is None or reference in BACKBONES else folder.name
    if weights in ("int8", "int4"):
        pack_maps(model, find_blocks(model), weights)
    return Backbone(model, tokenizer, name, _digest(model), weights)


def _load_model(place: str, stored: bool, weights: Weights) -> Any:
    """With the head that reads words, which `AutoModel` would leave away."""
    config = AutoConfig.from_pretrained(place, local_files_only=stored)
    kind = AutoModelForCausalLM if is_causal(config) else AutoModelForMaskedLM
    dtype = torch.bfloat16 if weights == "bf16" else torch.float32
    return kind.from_pretrained(place, config=config, dtype=dtype, local_files_only=stored)


def _digest(model: Any) -> str:
    """First 16 hexadecimal digits of a SHA-256 over the weights, in name order."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()[:16]
