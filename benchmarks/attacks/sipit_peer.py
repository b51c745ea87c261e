"""The public reimplementation of SipIt (GitHub cywinski/SipIt), as it is, in a process of its own.

    python -m sidelight.benchmarks.attacks.sipit_peer < order.json > answer.json

The order names the peer's folder, a model's folder, texts as token ids, the layer and the policy. The peer's own
`sipit` gets its own model's states of each text; the answer holds the ids it found, and its processor seconds, on one
thread.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...system.errors import SidelightError, UsageError

POLICIES = ("random", "gradient")


class Answer(NamedTuple):
    """What the peer found, in the order of the texts."""

    tokens: list[list[int]]
    seconds: float


def ask(peer: Path, model: str, texts: Sequence[Sequence[int]], layer: int, policy: str) -> Answer:
    """Run the peer; raises UsageError where its folder is another, SidelightError where it fails."""
    if not (peer / "sipit.py").is_file():
        raise UsageError(f"{peer} holds no sipit.py; give the folder of a copy of GitHub's cywinski/SipIt")
    order = {"peer": str(peer), "model": model, "texts": texts, "layer": layer, "policy": policy}
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__]
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SidelightError(f"the peer failed: {done.stderr.strip().splitlines()[-1]}")
    return Answer(**json.loads(done.stdout))


def serve(order: dict[str, Any]) -> Answer:
    """Carry out an order in this process."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)  # its random policy draws from the global state
    sys.path.insert(0, order["peer"])
    from sipit import sipit  # type: ignore[import-not-found]

    model = AutoModelForCausalLM.from_pretrained(order["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(order["model"])
    with torch.no_grad():
        states = [model(torch.tensor([ids]), output_hidden_states=True) for ids in order["texts"]]
    wanted = [one.hidden_states[order["layer"]][0] for one in states]
    started = time.process_time()
    found = [sipit(model, tokenizer, one, order["layer"], policy=order["policy"]) for one in wanted]
    return Answer(found, time.process_time() - started)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = serve(json.load(sys.stdin))
    print(json.dumps(answer._asdict()))
