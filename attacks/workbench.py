"""What a long preparation works at: it says how far it is, and keeps what it has so that it can go on after a stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError

from ..system import files, folder

PROGRESS, KEPT = "progress.json", "kept.safetensors"
SECONDS_APART = 0.2
"""Between two notes of progress."""

STATE, OWN, GLOBAL = "state/", "generator/own", "generator/global"


class Workbench:
    """A folder for progress and checkpoints; without one, nothing is noted and nothing was kept."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._next = 0.0

    def progress(self, done: float, total: float) -> None:
        """Note how far the preparation is, in a unit of its own; cheap enough to be called at every step."""
        now = time.monotonic()
        if self._root is not None and (now >= self._next or done >= total):
            self._next = now + SECONDS_APART
            files.write_json(self._root / PROGRESS, {"done": float(done), "total": float(total)})

    def keep(self, state: Mapping[str, torch.Tensor], generator: torch.Generator) -> None:
        """Keep a state from which `kept` goes on with the same randomness; it replaces the one before."""
        if self._root is None:
            return
        # copies: a file of tensors holds no two that share memory, as tied weights do
        named = {STATE + name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        # torch's own generator too: a layer's dropout draws from it unasked
        generators = {OWN: generator.get_state(), GLOBAL: torch.get_rng_state()}
        folder.write_tensors(self._root / KEPT, {**named, **generators})

    def kept(self, generator: torch.Generator) -> dict[str, torch.Tensor] | None:
        """The state kept last, with the generator set to where it was then; None where none can be read."""
        if self._root is None:
            return None
        try:
            tensors = folder.read_tensors(self._root / KEPT)
            generators = tensors.pop(OWN), tensors.pop(GLOBAL)
        except (SafetensorError, KeyError):  # none was kept, or not by `keep`
            return None
        generator.set_state(generators[0])
        torch.set_rng_state(generators[1])
        return {name.removeprefix(STATE): tensor for name, tensor in tensors.items()}
