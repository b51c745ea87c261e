"""Gradients of many side networks at once, by hand: what autograd finds, in fewer passes over memory.

The derivation is that of one network's (system/protocols/side_gradient.py), with a leading G. Of the gradient G_i of
the mixture S_i, g_i of the state h_i = S_i + act(p_i) W_up with p_i = S_i W_down, and g_{i-1} = mu_i G_i:

    dW_up = act(p_i)^T g_i,  D_i = act'(p_i) g_i W_up^T,  dW_down = S_i^T D_i,  G_i = g_i + D_i W_down^T
    dalpha_i = <g_{i-1}, S_{i-1}> + <g_{i-1} W_up^T, act(p_{i-1})> - mu_i (<g_i, S_i> + <D_i, p_i>)

Shapes: G networks, b rows of a batch, C rows, L layers, d width, r bottleneck, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

gelu, gelu_backward = torch.ops.aten.gelu.out, torch.ops.aten.gelu_backward.grad_input


class Weights(NamedTuple):
    """Of a group, by layer where they differ by layer; as `SideNetwork` has them, with a leading G."""

    alpha: torch.Tensor
    downs: tuple[torch.Tensor, ...]
    ups: tuple[torch.Tensor, ...]
    out: torch.Tensor
    bias: torch.Tensor

    def all(self) -> list[torch.Tensor]:
        return [self.alpha, *self.downs, *self.ups, self.out, self.bias]


class GroupGradient:
    """Puts gradients of each network's mean over rows of the squared error, summed over outputs, beside its weights."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        for weight in weights.all():
            weight.grad = torch.empty_like(weight)
        self._room: Room | None = None

    @torch.no_grad()
    def __call__(self, taps: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> None:
        """On rows (G, b) of normalised taps (L, C, d), against targets (G, b, K)."""
        if self._room is None or self._room.state.shape[1] != rows.shape[1]:
            self._room = Room(self._weights.downs, rows.shape[1])
        out, bias = self._weights.out, self._weights.bias
        mu = self._weights.alpha.sigmoid()  # (G, L)
        shares = mu.T[..., None, None].unbind()
        state = self._forwards(self._room, taps, rows.reshape(-1), shares)
        apart = torch.baddbmm(bias.unsqueeze(1), state, out.mT).sub_(targets).mul_(2 / rows.shape[1])
        torch.bmm(apart.mT, state, out=_beside(out))
        torch.sum(apart, 1, out=_beside(bias))
        along, bent = self._backwards(self._room, torch.bmm(apart, out, out=state), shares)
        own = mu * (along + _inner(self._room.pushed, self._room.narrow))  # writes over p_i, which served
        below = (along + bent).roll(1, 1)
        below[:, 0] = 0  # h_0 is zero
        torch.sub(below, own, out=_beside(self._weights.alpha))

    def _forwards(
        self, room: Room, taps: torch.Tensor, rows: torch.Tensor, shares: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """h_L (G, b, d)."""
        downs, ups = self._weights.downs, self._weights.ups
        mixed = room.mixed[0]
        for i, share in enumerate(shares):
            torch.index_select(taps[i], 0, rows, out=room.tap.view(-1, taps.shape[2]))
            if i:
                torch.lerp(room.tap, mixed, share, out=room.mixed[i])
                mixed = room.mixed[i].baddbmm_(room.bent[i - 1] * share, ups[i - 1])
            else:
                torch.mul(room.tap, 1 - share, out=mixed)
            torch.bmm(mixed, downs[i], out=room.narrow[i])
            gelu(room.narrow[i], out=room.bent[i])
        return torch.baddbmm(mixed, room.bent[-1], ups[-1], out=room.state)

    def _backwards(
        self, room: Room, gradient: torch.Tensor, shares: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From the gradient of h_L (G, b, d), which is written over: <g_i, S_i> and <g_i W_up^T, act(p_i)>, (G, L)."""
        downs, ups = self._weights.downs, self._weights.ups
        along = []
        for i in reversed(range(len(shares))):
            torch.bmm(gradient, ups[i].mT, out=room.pulled[i])
            along.append(torch.mul(gradient, room.mixed[i], out=room.tap).sum((1, 2)))
            torch.bmm(room.bent[i].mT, gradient, out=_beside(ups[i]))
            gelu_backward(room.pulled[i], room.narrow[i], grad_input=room.pushed[i])
            torch.bmm(room.mixed[i].mT, room.pushed[i], out=_beside(downs[i]))
            if i:  # below the first layer nothing learns
                gradient.baddbmm_(room.pushed[i], downs[i].mT).mul_(shares[i])
        return torch.stack(along[::-1], 1), _inner(room.pulled, room.bent)


def _beside(weight: torch.Tensor) -> torch.Tensor:
    assert weight.grad is not None
    return weight.grad


def _inner(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(G, L) of what has r columns, (L, G, b, r); the other one is written over."""
    return other.mul_(one).sum((2, 3)).T


class Room:
    """Memory for a batch, kept for the next one of as many rows."""

    def __init__(self, downs: Sequence[torch.Tensor], rows: int) -> None:
        count, width, bottleneck = downs[0].shape
        made = downs[0].new_empty
        self.tap, self.state = made(count, rows, width), made(count, rows, width)
        self.mixed = made(len(downs), count, rows, width)
        """S_i of each layer."""
        self.narrow, self.bent, self.pulled, self.pushed = (made(len(downs), count, rows, bottleneck) for _ in range(4))
        """p_i, act(p_i), g_i W_up^T and D_i."""
