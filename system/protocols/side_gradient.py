"""The gradient of a side network's squared error, by hand: what autograd finds, in a third of the passes over memory.

At r far below d a training step is bound by memory and by the number of calls, not by products. So nothing is kept
of a layer but the mixture S_i and what has r columns; a state h_i is never stored; factors ride along in products; and
the taps are normalised layer by layer, while they are in the processor's cache. With G_i the gradient of S_i, g_i that
of h_i (mu_{i+1} G_{i+1}; of the last layer what the output map gives), P_i = g_i W_up^T and p_i = S_i W_down:

    dW_up = act(p_i)^T g_i,  D_i = act'(p_i) P_i,  dW_down = S_i^T D_i,  G_i = g_i + D_i W_down^T
    dalpha_i = mu_i (<G_i, h_{i-1}> - <G_i, S_i>),  since mu_i (1 - mu_i) (h_{i-1} - A_i) = mu_i (h_{i-1} - S_i)
    <G_{i+1}, h_i> = <G_{i+1}, S_i> + <G_{i+1} W_up^T, act(p_i)>,  <G_i, S_i> = <g_i, S_i> + <D_i, p_i>

Own derivation from the equations of side_network.py; compared with autograd in the tests.

Shapes: B samples, L layers, d width, r bottleneck, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import gelu

from ..side_network import SideNetwork

Parts = Sequence[torch.Tensor]
gelu_slope = torch.ops.aten.gelu_backward


class SideGradient:
    """Puts gradients of the mean over samples of the squared error, summed over outputs, beside a network's weights.

    Projections of backbones of other widths get none. What is needed between the passes is kept for the next batch.
    """

    def __init__(self, network: SideNetwork) -> None:
        self._network = network
        self._down, self._up = network.down.detach().unbind(), network.up.detach().unbind()
        self._to_down, self._to_up = torch.empty_like(network.down), torch.empty_like(network.up)
        self._to_out, self._to_bias = torch.empty_like(network.out), torch.empty_like(network.bias)
        width = network.down.shape[1]
        self._unscaled = network.down.new_ones(width), network.down.new_zeros(width)
        self._room: Room | None = None

    @torch.no_grad()
    def __call__(self, activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The error () of activations (B, L, d), of any floating-point type, against targets (B, K)."""
        network = self._network
        if self._room is None or len(self._room.state) != len(activations):
            self._room = Room(network.down, len(activations))
        mu = network.alpha.sigmoid()
        shares = mu.tolist()
        state = self._forwards(self._room, activations, shares)
        apart = torch.addmm(network.bias, state, network.out.T) - targets
        error = apart.square().sum(1).mean()
        apart *= 2 / len(apart)
        torch.mm(apart.T, state, out=self._to_out)
        torch.sum(apart, 0, out=self._to_bias)
        to_alpha = self._backwards(self._room, torch.mm(apart, network.out, out=state), shares)
        self._put(mu * to_alpha)
        return error

    def _forwards(self, room: Room, activations: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
        """h_L (B, d)."""
        mixed = room.mixed[0]
        for i, (kept, share) in enumerate(zip(activations.unbind(1), shares, strict=True)):
            tap = torch.layer_norm(room.tap.copy_(kept), room.tap.shape[1:], *self._unscaled)
            if i:
                torch.lerp(tap, mixed, share, out=room.mixed[i])
                mixed = room.mixed[i].addmm_(room.bent[i - 1], self._up[i - 1], alpha=share)
            else:
                torch.mul(tap, 1 - share, out=mixed)
            torch.mm(mixed, self._down[i], out=room.narrow[i])
            room.bent[i].copy_(gelu(room.narrow[i]))
        return torch.addmm(mixed, room.bent[-1], self._up[-1], out=room.state)

    def _backwards(self, room: Room, gradient: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
        """From the gradient of h_L (B, d), which is written over: <G_i, h_{i-1}> - <G_i, S_i> (L,)."""
        factors = [*shares[1:], 1.0]  # g_i is a factor times what `gradient` holds
        factor = gradient.new_tensor(factors)
        slopes = gelu_slope(room.ones, room.all_narrow).mul_(factor.view(-1, 1, 1)).unbind()
        flat = gradient.view(-1)
        along = []
        for i in reversed(range(len(shares))):
            torch.mm(gradient, self._up[i].T, out=room.pulled[i])
            along.append(torch.dot(flat, room.mixed[i].view(-1)))
            into = self._to_up[i]
            torch.addmm(into, room.bent[i].T, gradient, beta=0, alpha=factors[i], out=into)
            torch.mul(room.pulled[i], slopes[i], out=room.pushed[i])
            torch.mm(room.mixed[i].T, room.pushed[i], out=self._to_down[i])
            if i:  # below the first layer nothing learns
                torch.addmm(gradient, room.pushed[i], self._down[i].T, beta=factors[i], out=gradient)
        states = torch.stack(along[::-1])
        own = states * factor + (room.all_pushed * room.all_narrow).sum((1, 2))
        below = (states + (room.all_pulled * room.all_bent).sum((1, 2))).roll(1)
        below[0] = 0  # h_0 is zero
        return below - own

    def _put(self, to_alpha: torch.Tensor) -> None:
        network = self._network
        network.alpha.grad, network.down.grad, network.up.grad = to_alpha, self._to_down, self._to_up
        network.out.grad, network.bias.grad = self._to_out, self._to_bias


class Room:
    """Memory for a batch: made once, since the first touch of fresh memory costs as much as the work in it."""

    def __init__(self, down: torch.Tensor, rows: int) -> None:
        layers, width, bottleneck = down.shape
        self.tap, self.state = down.new_empty(rows, width), down.new_empty(rows, width)
        self.mixed: Parts = down.new_empty(layers, rows, width).unbind()
        """S_i (B, d) of each layer."""
        narrow = [down.new_empty(layers, rows, bottleneck) for _ in range(4)]
        self.all_narrow, self.all_bent, self.all_pulled, self.all_pushed = narrow
        """p_i, act(p_i), P_i without its factor, and D_i, each (L, B, r)."""
        self.narrow, self.bent, self.pulled, self.pushed = (part.unbind() for part in narrow)
        self.ones = torch.ones_like(self.all_narrow)
