"""The state of an optimiser as tensors by name, so that a workbench can keep it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

MOMENTS = ("exp_avg", "exp_avg_sq")
DONE = "optimizer/steps"


def moments(optimizer: torch.optim.AdamW, steps: int) -> dict[str, torch.Tensor]:
    """Both moments of every parameter, by its number, after so many steps."""
    state = optimizer.state_dict()["state"]
    found = {f"optimizer/{i}/{name}": held[name] for i, held in state.items() for name in MOMENTS}
    return {DONE: torch.tensor(steps), **found}


def restored(optimizer: torch.optim.AdamW, kept: Mapping[str, torch.Tensor]) -> int:
    """Put kept moments back, in place; the steps that were done."""
    steps, whole = int(kept[DONE]), optimizer.state_dict()
    for i in range(sum(len(group["params"]) for group in whole["param_groups"])):
        if f"optimizer/{i}/{MOMENTS[0]}" in kept:
            held = {name: kept[f"optimizer/{i}/{name}"] for name in MOMENTS}
            whole["state"][i] = {"step": torch.tensor(float(steps)), **held}
    optimizer.load_state_dict(whole)
    return steps
