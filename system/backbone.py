"""The frozen pretrained model: loading, tokens, and the hidden state after any block.

Shapes: B texts, T positions, L blocks, d width.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging

from .errors import UnknownName, UsageError

TINY = "sidelight-tiny"
BACKBONES = {TINY: Path(__file__).parent / "tiny"}
"""Backbones that come with the package."""

PATIENCE = 10.0
"""Seconds to wait for the hub before only its cache is asked."""

SIDE_BY_SIDE = 256
"""Candidates that stand behind one prefix in a pass: their mask grows with the square."""

FINAL_NORMS = ("final_layer_norm", "final_layernorm", "norm", "ln_f")
"""What the families call the norm between the last block and the output matrix."""


class Tokens(NamedTuple):
    """Right-padded token ids of a batch of texts, each (B, T) int64; the mask is 1 where a token stands."""

    ids: torch.Tensor
    mask: torch.Tensor


class Stop(Exception):
    """Ends a forward pass after the last block that is asked for."""


class Backbone:
    """A causal language model with its tokenizer, in float32, frozen, without dropout."""

    def __init__(self, model: Any, tokenizer: Any, name: str, digest: str) -> None:
        self.model = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name, self.digest = name, digest
        self.blocks = find_blocks(model)
        self.width = int(model.config.hidden_size)
        self.vocabulary = int(model.config.vocab_size)
        self.prefix = list(tokenizer("")["input_ids"])
        """Special tokens that open every text."""

    def token_ids(self, text: str, longest: int | None = None) -> list[int]:
        """A text's own tokens, without special ones, cut to the longest allowed."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[:longest]

    def tokens(self, texts: Sequence[str], longest: int, prompt: str = "") -> Tokens:
        """Opening tokens, at most `longest` tokens of text, then the prompt's tokens."""
        tail = self.token_ids(prompt)
        return self.pad([[*self.prefix, *self.token_ids(text, longest), *tail] for text in texts])

    def require_room(self, longest: int, prompt: str) -> None:
        """Raises UsageError where the model has fewer positions than texts of so many tokens need."""
        around = len(self.prefix) + len(self.token_ids(prompt))
        there = getattr(self.model.config, "max_position_embeddings", None)
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
        return torch.stack(taken, dim=2)

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

    def final_norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """The norm that the output matrix expects, of states (..., d) after the last block."""
        normed: torch.Tensor = find_final_norm(self.model)(hidden)
        return normed

    def output_matrix(self) -> torch.Tensor:
        """The language-model head (vocabulary, d)."""
        weight: torch.Tensor = self.model.get_output_embeddings().weight
        if weight.shape[1] != self.width:
            raise UsageError(f"{self.name} projects its states before the output matrix; use a linear head instead")
        return weight


def run(model: Any, tokens: Tokens, cache: Any = None, places: torch.Tensor | None = None) -> None:
    """A forward pass up to whatever a hook stops; `places` (B, T) are positions where they do not follow the mask."""
    named = {} if places is None else {"position_ids": places}
    with suppress(Stop):
        model(
            input_ids=tokens.ids,
            attention_mask=tokens.mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **named,
        )


@contextmanager
def record_blocks(blocks: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Collects each block's output (B, T, d) in the next forward pass, which ends after the last block."""
    taken: list[torch.Tensor] = []

    def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
        taken.append(output[0] if isinstance(output, tuple) else output)
        if len(taken) == len(blocks):
            raise Stop

    handles = [block.register_forward_hook(take) for block in blocks]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()


def find_blocks(model: Any) -> nn.ModuleList:
    """The list of Transformer blocks of any transformers causal model."""
    count = model.config.num_hidden_layers
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if len(lists) != 1:
        raise UsageError(f"cannot find the {count} blocks of {type(model).__name__}; give a decoder-only causal model")
    return lists[0]


def find_parent(model: Any) -> tuple[nn.Module, str]:
    """The module that holds the list of blocks, and the list's attribute name."""
    blocks = find_blocks(model)
    for module in model.modules():
        for name, child in module.named_children():
            if child is blocks:
                return module, name
    raise UsageError(f"cannot find the blocks of {type(model).__name__}; give a decoder-only causal model")


def find_final_norm(model: Any) -> nn.Module:
    """The norm after the last block; the identity for a family that has none."""
    parent, _ = find_parent(model)
    for name in FINAL_NORMS:
        norm = getattr(parent, name, None)
        if isinstance(norm, nn.Module):
            return norm
    return nn.Identity()


def load_backbone(reference: str) -> Backbone:
    """A backbone by packaged name, local folder or Hugging Face id; raises UsageError in one sentence."""
    folder = local_folder(reference)
    stored = folder is not None or not _hub_answers(reference)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder or reference, local_files_only=stored)
        model = AutoModelForCausalLM.from_pretrained(folder or reference, dtype=torch.float32, local_files_only=stored)
    except Exception as error:  # hub, file and format errors have no common class
        raise _refusal(reference, folder, error) from None
    name = reference if folder is None or reference in BACKBONES else folder.name
    return Backbone(model, tokenizer, name, _digest(model))


def _hub_answers(reference: str) -> bool:
    """Whether the hub knows a model: asked once, where `transformers` would retry for a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(reference, timeout=PATIENCE)
    except Exception:  # the errors of its HTTP client have no common class; what the cache holds may still do
        return False
    return True


def local_folder(reference: str) -> Path | None:
    """The folder of a packaged or local backbone; None for a hub id."""
    if reference in BACKBONES:
        return Path(os.path.realpath(BACKBONES[reference]))
    path = Path(reference).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UsageError(
                f"{reference} holds no config.json; give a folder that transformers' save_pretrained wrote"
            )
        return path.resolve()
    if reference.startswith((".", "/", "~")) or reference.count("/") > 1:
        raise UsageError(f"the backbone folder {reference} does not exist; give a folder, a hub id or {TINY!r}")
    return None


def _refusal(reference: str, folder: Path | None, error: Exception) -> UsageError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if folder is not None:
        return UsageError(
            f"the backbone in {reference} cannot be loaded ({first}); give a causal language model's folder"
        )
    if "/" not in reference and not _known_offline(error):
        return UnknownName("backbone", reference, BACKBONES)
    return UsageError(
        f"the backbone {reference!r} is no packaged name or local folder and the Hugging Face hub does not answer for "
        f"it; give {TINY!r}, a local folder, or an id while the hub can be reached"
    )


def _known_offline(error: Exception) -> bool:
    return "not a local folder and is not a valid model identifier" in str(error)


def _digest(model: Any) -> str:
    """First 16 hexadecimal digits of a SHA-256 over the weights, in name order."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()[:16]
