"""Training with differential privacy: Opacus's DP-SGD, with its silent failures made errors.

Opacus takes over how gradients are summed, and goes on without a word where a per-sample gradient is wrong, where
frozen weights have a share in the clip, or where several batches become one step. Here the gradients of single samples
are compared with a plain loop before anything is trained, and every step is checked before it is taken. A sample whose
gradient is no finite number moves nothing.

Shapes: N samples in the cache, B samples of a step (none is possible), L layers, d width, K outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import nn

from ..defences.defence import PrivateSteps
from ..errors import PrivacyError, ProtocolError

Sizes = tuple[tuple[int, ...], tuple[int, ...]]
"""Of one sample's activations and of its target."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""Activations (B, L, d) and targets (B, K)."""

GRADIENTS = "grad_sample"
"""Where Opacus puts a weight's gradients of single samples (B, ...)."""
PROBED = 3
"""Samples whose gradients are compared."""
TOLERANCE = 1e-4
"""Of the largest gradient's length: what single precision may round away."""


class PrivateTraining:
    """DP-SGD on all weights of a network that ask for gradients, for as many epochs as were accounted for."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        sizes: Sizes,
        steps: PrivateSteps,
        generator: torch.Generator,
    ) -> None:
        """`generator` draws batches and noise, and stays secret. Raises PrivacyError where the network does not fit."""
        inputs, outputs = (torch.randn(PROBED, *size, generator=generator) for size in sizes)
        probe(network, inputs, outputs, generator)
        self._network, self._steps, self.generator = sampled(network), steps, generator
        self._none = inputs[:0], outputs[:0]
        self._optimizer = CheckedOptimizer(network, optimizer, steps, generator)
        self._epochs = 0

    def epoch(self, rate: float, count: int, rows: Callable[[list[int]], Pair]) -> None:
        """One epoch at a learning rate on N samples; ProtocolError where the promise is spent.

        `rows` gives activations (B, L, d) and targets (B, K) of samples by their places.
        """
        if self._epochs == self._steps.epochs:
            raise ProtocolError(f"the privacy promised is spent after {self._epochs} epochs; ask for no more")
        self._epochs += 1
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        for places in self._drawn(count):
            self.step(*(rows(places) if places else self._none))

    def resume(self, epochs: int, generator: torch.Tensor) -> None:
        """Go on behind so many epochs, with the generator's state at that time."""
        self._epochs = epochs
        self.generator.set_state(generator)

    def step(self, activations: torch.Tensor, targets: torch.Tensor) -> None:
        """One step on (B, L, d) and (B, K); without samples it is noise alone."""
        self._optimizer.zero_grad()
        self._optimizer.rows = len(activations)
        if len(activations):
            _backward(self._network, activations, targets)
        else:
            for weight in self._optimizer.params:
                setattr(weight, GRADIENTS, weight.new_zeros((0, *weight.shape)))
        self._optimizer.step()

    def _drawn(self, count: int) -> Iterator[list[int]]:
        rate, steps = self._steps.rate, self._steps.an_epoch
        yield from UniformWithReplacementSampler(
            num_samples=count, sample_rate=rate, generator=self.generator, steps=steps
        )


def sampled(network: nn.Module) -> GradSampleModule:
    """The network with gradients of single samples; PrivacyError where Opacus refuses it."""
    try:
        return GradSampleModule(network, loss_reduction="sum")
    except (NotImplementedError, ValueError) as error:
        raise PrivacyError(f"Opacus cannot train {type(network).__name__}: {str(error).splitlines()[0]}") from error


class CheckedOptimizer(DPOptimizer):  # type: ignore[misc] # Opacus ships no types
    """Opacus's optimiser, which refuses a step that would not be the one accounted for."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: PrivateSteps,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=steps.ratio,
            max_grad_norm=steps.clip,
            expected_batch_size=steps.expected,
            generator=generator,
        )
        self._network = network
        self.rows = 0
        """How many samples the next step is on."""
        check_weights(network, optimizer)

    def clip_and_accumulate(self) -> None:
        check_weights(self._network, self.original_optimizer)
        self._check_single()
        for name, weight in self._network.named_parameters():
            check_gradients(name, weight, self.rows)
        drop_endless(self.params)
        super().clip_and_accumulate()

    def _check_single(self) -> None:
        """One batch, one step: what is put together from several was not drawn at the rate accounted for."""
        left = any(getattr(weight, "summed_grad", None) is not None for weight in self.params)
        if left or self._step_skip_queue:
            raise PrivacyError("gradients of several batches go into one step; take a step after each batch")


def check_weights(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise PrivacyError unless an optimiser holds exactly the weights that ask for gradients."""
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    names = {id(weight): name for name, weight in network.named_parameters()}
    trained = {id(weight) for weight in network.parameters() if weight.requires_grad}
    if stray := held - trained:
        said = ", ".join(sorted(names.get(one, "a weight of another network") for one in stray))
        raise PrivacyError(f"the optimiser holds what is not trained: {said}; give it trainable weights only")
    if missing := trained - held:
        said = ", ".join(sorted(names[one] for one in missing))
        raise PrivacyError(f"the optimiser lacks {said}; freeze them or let it train them")


def check_gradients(name: str, weight: nn.Parameter, rows: int) -> None:
    """Raise PrivacyError unless a trained weight has one gradient for each of so many samples, and a frozen none."""
    found = getattr(weight, GRADIENTS, None)
    if not weight.requires_grad:
        if found is not None:
            raise PrivacyError(f"{name} is frozen and has a share in the clip; freeze weights before training begins")
        return
    if isinstance(found, list):
        raise PrivacyError(f"{name} holds gradients of {len(found)} batches; take a step after each batch")
    if found is None:
        raise PrivacyError(f"{name} has no gradient of single samples; freeze it, or use it")
    if found.shape != (rows, *weight.shape):
        raise PrivacyError(f"{name} has {len(found)} gradients for {rows} samples; keep samples apart")


def drop_endless(weights: Sequence[nn.Parameter]) -> None:
    """Zero the whole gradient of every sample whose length is no finite number.

    No clip makes it shorter, and a sum with it is no number whatever the noise: that one sample would show.
    """
    found = [getattr(weight, GRADIENTS) for weight in weights]
    finite = torch.stack([one.flatten(1).norm(dim=1) for one in found]).norm(dim=0).isfinite()
    if not bool(finite.all()):
        for weight, one in zip(weights, found, strict=True):
            kept = finite.view(-1, *[1] * (one.dim() - 1))
            setattr(weight, GRADIENTS, torch.where(kept, one, torch.zeros_like(one)))


def probe(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> None:
    """Compare gradients of single samples (B, ...) with a plain loop, on a copy with weights drawn at random.

    At its first weights a network may have gradients of zero, which any would equal. Raises PrivacyError where they
    differ, or where samples of one batch do not stay apart.
    """
    drawn = copy.deepcopy(network).train()
    with torch.no_grad():
        for weight in drawn.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    plain, wrapped = copy.deepcopy(drawn), sampled(drawn)
    wanted = [_alone(plain, inputs[i : i + 1], targets[i : i + 1]) for i in range(len(inputs))]
    _backward(wrapped, inputs, targets)
    for name, weight in drawn.named_parameters():
        check_gradients(name, weight, len(inputs))
        if weight.requires_grad:
            _compare(name, getattr(weight, GRADIENTS), torch.stack([one[name] for one in wanted]))


def _alone(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    found = torch.autograd.grad(squared_errors(network(inputs), targets), list(trained.values()), allow_unused=True)
    if unused := [name for name, gradient in zip(trained, found, strict=True) if gradient is None]:
        raise PrivacyError(f"{', '.join(unused)} has no gradient of single samples; freeze it, or use it")
    return dict(zip(trained, found, strict=True))


def _compare(name: str, found: Any, wanted: torch.Tensor) -> None:
    largest = float(wanted.flatten(1).norm(dim=1).max())
    apart = float((found - wanted).flatten(1).norm(dim=1).max())
    if not apart <= TOLERANCE * max(largest, 1e-12):
        raise PrivacyError(f"the gradients of single samples of {name} are wrong; keep samples of a batch apart")


def _backward(network: GradSampleModule, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    # hooks warn where no input asks for a gradient
    squared_errors(network(inputs.detach().requires_grad_()), targets).backward()


def squared_errors(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of outputs and targets (B, K), summed over samples: the optimiser divides by the batch that is expected."""
    return (outputs - targets).square().sum()
