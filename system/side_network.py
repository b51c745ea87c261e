"""The additive side network that the server trains (arXiv 2507.01216, equations as third-party summaries give them).

    S_i = (1 - mu_i) A_i + mu_i h_{i-1},  mu_i = sigmoid(alpha_i),  h_i = S_i + act(S_i W_down) W_up,  s(A) = W_out h_L

No source confirms the bottleneck width, the activation function, h_0, the initialisation or the output map. Here
h_0 = 0, alpha_i = 0, W_up = 0, act = GELU, W_out a linear map; and every A_i is first brought to zero mean and unit
variance over its width, because a frozen model's blocks differ in scale by orders of magnitude.

Backbones of several sizes share one side network behind projections to its width (Fed MobiLLM, arXiv 2508.06765): one
trainable matrix a backbone, by which taps of zero mean and unit variance are multiplied; all its taps go through
the same one. It starts as the identity where the widths are equal, else at random.

Shapes: N positions or samples, L layers, d width, e width of another backbone, r bottleneck, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm


@dataclass(frozen=True)
class SideShape:
    """Sizes of a side network."""

    layers: int
    width: int
    bottleneck: int
    outputs: int


PROJECT = "project."
"""Prefix of a projection's name among the weights."""


class SideNetwork(nn.Module):
    """L adapters in a cascade beside the frozen backbone, and an output map."""

    def __init__(self, shape: SideShape, generator: torch.Generator, widths: Mapping[str, int] | None = None) -> None:
        """`widths`: by a projection's name, its backbone's width; none where all are of width d."""
        super().__init__()
        spread = shape.width**-0.5
        down = torch.randn(shape.layers, shape.width, shape.bottleneck, generator=generator) * spread
        self.alpha = nn.Parameter(torch.zeros(shape.layers))
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(shape.layers, shape.bottleneck, shape.width))
        self.out = nn.Parameter(torch.zeros(shape.outputs, shape.width))
        self.bias = nn.Parameter(torch.zeros(shape.outputs))
        self.project = nn.ParameterDict(
            {name: _projection(width, shape.width, generator) for name, width in (widths or {}).items()}
        )

    def align(self, activations: torch.Tensor, projection: str = "") -> torch.Tensor:
        """A backbone's taps at the network's width: (N, L, e) to (N, L, d); as they are without a name."""
        if not projection:
            return activations
        aligned: torch.Tensor = layer_norm(activations, activations.shape[-1:]) @ self.project[projection]
        return aligned

    def features(self, activations: torch.Tensor) -> torch.Tensor:
        """h_L: (N, L, d) to (N, d)."""
        taps = layer_norm(activations, activations.shape[-1:])
        # parts by unbind: an index would make a gradient of the whole tensor for every layer
        parts = self.alpha.sigmoid().unbind(), self.down.unbind(), self.up.unbind()
        return cascade(taps.unbind(1), *parts)

    def read_out(self, features: torch.Tensor) -> torch.Tensor:
        """(N, d) to (N, K)."""
        return features @ self.out.T + self.bias

    def forward(self, activations: torch.Tensor, projection: str = "") -> torch.Tensor:
        """s(A): (N, L, e) to (N, K), through a projection where one is named."""
        return self.read_out(self.features(self.align(activations, projection)))


def cascade(
    taps: Sequence[torch.Tensor],
    mus: Sequence[torch.Tensor],
    downs: Sequence[torch.Tensor],
    ups: Sequence[torch.Tensor],
) -> torch.Tensor:
    """h_L (N, d) of L normalised taps (N, d), with mu (), W_down (d, r) and W_up (r, d) of every layer."""
    state: torch.Tensor | None = None
    for tap, mu, down, up in zip(taps, mus, downs, ups, strict=True):
        mixed = (1 - mu) * tap if state is None else torch.lerp(tap, state, mu)
        state = mixed + gelu(mixed @ down) @ up
    assert state is not None
    return state


def _projection(width: int, to: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.eye(width) if width == to else torch.randn(width, to, generator=generator) * width**-0.5)


def shape_of(state: Mapping[str, torch.Tensor]) -> SideShape:
    """The sizes that a stored side network has."""
    layers, width, bottleneck = state["down"].shape
    return SideShape(layers, width, bottleneck, len(state["bias"]))


def from_state(state: Mapping[str, torch.Tensor]) -> SideNetwork:
    """A side network with stored weights; raises RuntimeError where names or shapes differ."""
    widths = {name.removeprefix(PROJECT): len(state[name]) for name in state if name.startswith(PROJECT)}
    network = SideNetwork(shape_of(state), torch.Generator(), widths)
    network.load_state_dict(dict(state))
    return network
