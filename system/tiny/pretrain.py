"""Pretrain `sidelight-tiny`, the default backbone: a causal model of the OPT architecture.

    python -m sidelight.system.tiny.pretrain --shared DATA_FOLDER --stories stories.txt --out FOLDER

The schedule is linear warm-up, constant, then linear decay to zero over the last third of the steps.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from . import corpus

SAVE_EVERY = 400
"""Steps between checkpoints."""


@dataclass(frozen=True)
class Recipe:
    """Shape and schedule of the pretraining."""

    blocks: int = 6
    width: int = 192
    heads: int = 6
    vocabulary: int = 4096
    positions: int = 512
    row_tokens: int = 128
    """Tokens in a packed row of stories and encyclopaedia."""
    query_tokens: int = 44
    """Longest query with its topic, in tokens."""
    rows: int = 20
    """Packed rows a step."""
    queries: int = 48
    """Queries a step."""
    snippets: int = 80
    """Snippets with their content words a step."""
    snippet_texts: int = 60000
    """Snippets of stories that the content-word rows are made of; every query and paragraph gives some as well."""
    wikitext_share: float = 0.15
    """Share of packed rows drawn from WikiText-2; the rest are stories."""
    steps: int = 4200
    warmup: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    dropout: float = 0.05
    seed: int = 0


def build(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> OPTForCausalLM:
    """An untrained model."""
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        word_embed_proj_dim=recipe.width,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        ffn_dim=4 * recipe.width,
        max_position_embeddings=recipe.positions,
        dropout=recipe.dropout,
        attention_dropout=0.0,
        init_std=0.02,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    # eager attention: on a CPU its backward pass takes two thirds of the fused kernel's time at these sizes
    model: OPTForCausalLM = OPTForCausalLM._from_config(config, attn_implementation="eager")
    return model


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, constant, linear decay to zero over the last third."""
    decay = recipe.steps // 3
    warm = min(1.0, (step + 1) / recipe.warmup)
    cool = min(1.0, (recipe.steps - step) / decay)
    return recipe.learning_rate * warm * cool


def loss_of(model: OPTForCausalLM, ids: torch.Tensor, pad: int, targets: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy of the next token, padding left out, in nats; `targets` count instead of `ids` if given."""
    targets = ids if targets is None else targets
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=(ids != pad).long()).logits
    return cross_entropy(logits[:, :-1].float().flatten(0, 1), targets[:, 1:].flatten(), ignore_index=pad)


@dataclass(frozen=True)
class Rows:
    """The corpus as token rows, each (rows, tokens) int64, and what draws from it."""

    wiki: torch.Tensor
    tales: torch.Tensor
    queries: torch.Tensor
    about: torch.Tensor
    answers: torch.Tensor
    """`about` with all but the answer padded."""
    generator: torch.Generator

    def draw(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """Random indices of rows."""
        return torch.randint(len(rows), (count,), generator=self.generator)

    def losses(self, model: OPTForCausalLM, recipe: Recipe, pad: int) -> torch.Tensor:
        """Losses of one step's prose, queries and content words: (3,)."""
        wiki = round(recipe.rows * recipe.wikitext_share)
        prose = torch.cat(
            [self.wiki[self.draw(self.wiki, wiki)], self.tales[self.draw(self.tales, recipe.rows - wiki)]]
        )
        asked = self.queries[self.draw(self.queries, recipe.queries)]
        asked = asked[:, : int((asked != pad).sum(1).max())]
        chosen = self.draw(self.about, recipe.snippets)
        about = loss_of(model, self.about[chosen], pad, self.answers[chosen])
        return torch.stack([loss_of(model, prose, pad), loss_of(model, asked, pad), about])


def read_rows(recipe: Recipe, shared: Path, stories: list[Path]) -> tuple[PreTrainedTokenizerFast, Rows]:
    """The tokenizer, trained on the corpus, and the corpus in its tokens."""
    generator = torch.Generator().manual_seed(recipe.seed)
    wiki = corpus.read_wikitext(shared / "wikitext2")
    queries = corpus.read_queries(shared / "clinc150")
    tales = [line for path in stories for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [q.text for q in queries] * 4 + [q.intent for q in queries] + wiki + tales[:8000]
    backend = corpus.train_tokenizer(lines, recipe.vocabulary)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=corpus.BEGIN, pad_token=corpus.PAD, eos_token=corpus.END
    )
    pieces = corpus.snippets(tales[:20000], 2)[: recipe.snippet_texts] + corpus.snippets(wiki, 1)
    about = corpus.keyword_rows(backend, pieces + [q.text for q in queries], recipe.query_tokens, generator)
    rows = Rows(
        wiki=corpus.packed(backend, wiki, recipe.row_tokens),
        tales=corpus.packed(backend, tales, recipe.row_tokens),
        queries=corpus.query_rows(backend, queries, recipe.query_tokens),
        about=about,
        answers=corpus.after_prompt(backend, about),
        generator=generator,
    )
    return tokenizer, rows


def optimizer_of(model: OPTForCausalLM, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))


def pretrain(recipe: Recipe, shared: Path, stories: list[Path], out: Path, start: Path | None = None) -> None:
    """Train and save; `start` is the folder of an earlier leg, whose weights are the first ones here."""
    torch.manual_seed(recipe.seed)  # initialisation and dropout draw from the global generator
    tokenizer, rows = read_rows(recipe, shared, stories)
    model = build(recipe, tokenizer)
    if start is not None:
        model.load_state_dict(load_file(start / "model.safetensors"), strict=False)
    optimizer = optimizer_of(model, recipe)
    started, mean = time.monotonic(), torch.full((3,), math.nan)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        losses = rows.losses(model, recipe, tokenizer.pad_token_id)
        optimizer.zero_grad()
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = torch.where(mean.isnan(), losses.detach(), 0.98 * mean + 0.02 * losses.detach())
        if step % 100 == 99:
            left = (recipe.steps - step) * (time.monotonic() - started) / (step + 1) / 60
            prose, queries, about = mean.tolist()
            print(
                f"step {step + 1}: prose {prose:.3f}, queries {queries:.3f}, content {about:.3f}, {left:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            save(model, tokenizer, out)
    save(model, tokenizer, out)


def save(model: OPTForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Half-precision weights, configuration and tokenizer, each file whole or absent."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    tied = {"lm_head.weight"}
    halves = {n: t.detach().half().contiguous() for n, t in model.state_dict().items() if n not in tied}
    save_file(halves, out / "model.partial", metadata={"format": "pt"})
    (out / "model.partial").replace(out / "model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder holding wikitext2/ and clinc150/")
    parser.add_argument("--stories", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder of an earlier leg, whose weights are the first ones here")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    pretrain(recipe, arguments.shared, arguments.stories, arguments.out, arguments.start)


if __name__ == "__main__":
    main()
