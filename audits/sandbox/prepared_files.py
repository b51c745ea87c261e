"""What an attack prepared, on its way from one worker to others: the harness checks the file and never loads it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ...attacks.attack import Prepared
from ...system import folder
from ...system.errors import UsageError
from .guess_files import GuessError, open_regular

TENSORS = "prepared.safetensors"
LARGEST = 4 << 30
"""Bytes."""
MOST, LONGEST = 100_000, 1000
"""Tensors, and characters of a name."""


def save(prepared: Prepared, scratch: Path) -> None:
    """Write what was prepared into a folder; GuessError where it is no mapping of names to tensors."""
    try:
        # copies: a file of tensors holds no two that share memory
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in prepared.items()}
        named = all(isinstance(name, str) for name in tensors)
    except (AttributeError, TypeError):
        named = False
    if not named:
        raise GuessError(
            f"the attack prepared {type(prepared).__name__}; it must prepare a mapping of names to tensors"
        )
    folder.write_tensors(scratch / TENSORS, tensors)


def check(path: Path) -> None:
    """GuessError unless a stranger's file is a plain one of its own, of bounded size, that holds tensors."""
    with open_regular(path, LARGEST):  # the writer has ended: what is found here stays
        try:
            with safe_open(path, framework="numpy") as stored:
                names = list(stored.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise GuessError(f"{path.name} is malformed: {type(error).__name__}") from None
    if len(names) > MOST or any(len(name) > LONGEST for name in names):
        raise GuessError(f"{path.name} must hold at most {MOST} tensors with names of at most {LONGEST} characters")


def load(path: Path) -> dict[str, torch.Tensor]:
    """What was prepared; UsageError where it is gone."""
    if not path.exists():
        raise UsageError(f"{path.name} is missing; prepare the attack again")
    return folder.read_tensors(path)
