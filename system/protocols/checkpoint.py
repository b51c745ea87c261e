"""The state of a training that has to go on bit for bit in another process: weights, optimiser, generator, as tensors.

No pickle: everything is a tensor under a name, so that it fits a safetensors file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

State = Mapping[str, torch.Tensor]

WEIGHTS, OPTIMIZER, IDS = "weights.", "optimizer.", "ids"
ID_BYTES = 8


def training_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Copies of the weights, and of what an optimiser remembers of each."""
    found = {WEIGHTS + name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for place, remembered in optimizer.state_dict()["state"].items():
        found |= {f"{OPTIMIZER}{place}.{name}": torch.as_tensor(value).clone() for name, value in remembered.items()}
    return found


def load_training(network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Put what `training_state` gave in the place of what is there; raises RuntimeError where names differ."""
    network.load_state_dict(_below(state, WEIGHTS))
    remembered: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _below(state, OPTIMIZER).items():
        place, _, what = name.partition(".")
        remembered.setdefault(int(place), {})[what] = tensor.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": remembered})


def packed_ids(ids: tuple[str, ...]) -> torch.Tensor:
    """Sample ids (N,) as bytes (N, 8) uint8."""
    digits = bytearray(bytes.fromhex("".join(ids)))
    return torch.frombuffer(digits, dtype=torch.uint8).view(-1, ID_BYTES) if ids else torch.empty(0, ID_BYTES).byte()


def unpacked_ids(packed: torch.Tensor) -> tuple[str, ...]:
    """The ids that `packed_ids` packed."""
    digits = packed.numpy().tobytes().hex()
    return tuple(digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES))


def _below(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
