"""Sample a pretraining corpus of children's stories from a public TinyStories language model.

The pretraining corpus of `sidelight-tiny` needs tens of megabytes of fluent English under a licence that
allows redistribution of the result; the full TinyStories set is large, the small public model trained on
it (656,000 parameters, Apache-2.0) is not, so its samples stand in for the set.

    python -m sidelight.system.tiny.sample_stories --model FOLDER --out stories.txt --megabytes 24
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

END_OF_STORY = "<|end_story|>"
"""The sampling model's end marker, which its tokenizer does not list as a special token."""

STORY_TOKENS = 320
"""Longest story sampled, in tokens of the sampling model."""


def sample(model_folder: Path, out: Path, megabytes: float, batch: int, seed: int) -> None:
    """Write one story a line until `out` holds `megabytes` * 1e6 bytes."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    torch.manual_seed(seed)  # transformers' sampling draws from the global generator
    start = torch.full((batch, 1), tokenizer.bos_token_id)
    partial = out.with_name(out.name + ".partial")
    written = 0
    with partial.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            ids = model.generate(
                start,
                attention_mask=torch.ones_like(start),
                do_sample=True,
                temperature=0.7,  # plain sampling: a sorted nucleus costs ten times the model itself
                top_k=0,
                max_new_tokens=STORY_TOKENS,
                pad_token_id=tokenizer.eos_token_id,
            )
            for story in tokenizer.batch_decode(ids, skip_special_tokens=True):
                line = " ".join(story.split(END_OF_STORY)[0].split())
                written += file.write(line + "\n")
            print(f"{written / 1e6:.1f} MB", file=sys.stderr, flush=True)
    partial.replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=24.0)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with torch.inference_mode():
        sample(arguments.model, arguments.out, arguments.megabytes, arguments.batch, arguments.seed)


if __name__ == "__main__":
    main()
