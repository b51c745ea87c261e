"""Cutting a model in two or three changes nothing: the same gradients, and after 20 steps the same weights.

The unsplit model is transformers' own with peft's own updates, trained in one process by a loop written here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch.nn.functional import cross_entropy

from sidelight.system.anatomy import find_blocks
from sidelight.system.heads import verbaliser
from sidelight.system.protocols import Scene
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.protocol import even_batches
from sidelight.system.roles import DEVICE

from ..contracts.micro import VICTIM, Micro, Run, make_scene, record
from ..contracts.variants import made

EPOCHS, BATCH, RANK, RATE = 5, 12, 2, 1e-2
STEPS = EPOCHS * len(VICTIM) // BATCH
UPDATES = LoraTraining(rank=RANK, epochs=EPOCHS, batch=BATCH, learning_rate=RATE)
FULL = LoraTraining(full=True, epochs=EPOCHS, batch=BATCH, learning_rate=RATE / 10)
CASES = [
    ("split", {"lora": UPDATES}),
    ("split", {"lora": FULL}),
    ("ushape", {"lora": UPDATES}),
    ("ushape", {"lora": FULL}),
    ("splitlora", {"lora": UPDATES, "fleet": Fleet(1), "every": 3}),
]


@dataclass
class Unsplit:
    """The whole model in one process."""

    model: Any
    head: torch.Tensor
    bias: torch.Tensor
    gradients: list[torch.Tensor]
    """Of the first batch's loss with respect to the states after the cut: (T, d) for each text, without padding."""


def trained_whole(
    protocol: Any, scene: Scene, cut: int, start: dict[str, torch.Tensor], steps: Iterable[tuple[int, list[int]]]
) -> Unsplit:
    """Trained from the same weights, on given rows of VICTIM in each step, with their epoch."""
    model: Any = copy.deepcopy(scene.backbone.model)
    if not protocol.lora.full:
        names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in n]
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=names, lora_dropout=0.0), model)
    trained = [(name, p) for name, p in model.named_parameters() if name in start]
    assert len(trained) == len(start)
    for name, parameter in trained:
        parameter.data = start[name].clone()
        parameter.requires_grad_(True)
    rate = protocol.lora.learning_rate
    head = verbaliser(scene.backbone, scene.labels).clone().requires_grad_()
    bias = torch.zeros(len(scene.labels), requires_grad=True)
    rule = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[protocol.lora.rule]
    optimizer = rule([*(p for _, p in trained), head, bias], lr=rate)
    gradients: list[torch.Tensor] = []
    for epoch, rows in steps:
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
        tokens = scene.backbone.tokens([VICTIM[i].text for i in rows], 48, protocol.prompt)
        found = model(input_ids=tokens.ids, attention_mask=tokens.mask, output_hidden_states=True)
        at_cut = found.hidden_states[cut]
        at_cut.retain_grad()
        last = found.hidden_states[-1]  # transformers gives it behind the final norm
        chosen = torch.stack([row[: int(n)].mean(0) for row, n in zip(last, tokens.mask.sum(1), strict=True)])
        optimizer.zero_grad()
        cross_entropy(chosen @ head.T + bias, scene.targets([VICTIM[i] for i in rows])).backward()
        gradients = gradients or [g[: int(n)].clone() for g, n in zip(at_cut.grad, tokens.mask.sum(1), strict=True)]
        optimizer.step()
    return Unsplit(model, head.detach(), bias.detach(), gradients)


def batches(scene: Scene) -> Iterator[tuple[int, list[int]]]:
    """The epoch and the rows of every step."""
    order = scene.streams.torch(f"{DEVICE}:order")
    lengths = [len(scene.backbone.token_ids(sample.text, 48)) for sample in VICTIM]
    for epoch in range(EPOCHS):
        for rows in even_batches(lengths, BATCH, order):
            yield epoch, rows


def parts_of(role: Any) -> Any:
    """The model that a server trains, the first device's where each has its own."""
    top = getattr(role, "_model", None) or getattr(role, "_middle", None) or role._parts[DEVICE]
    return top.top.model


def weights_of(roles: Any, cut: int) -> dict[str, torch.Tensor]:
    """Everything that is trained in bottom and top, under the name that it has in the unsplit model."""
    bottom, above = roles[DEVICE]._bottom.model, parts_of(roles["server"])
    found = {name: p.detach().clone() for name, p in bottom.named_parameters() if p.requires_grad}
    place = next(name for name, module in bottom.named_modules() if module is find_blocks(bottom))
    for name, parameter in above.named_parameters():
        if parameter.requires_grad:
            number, _, rest = name.removeprefix(f"{place}.").partition(".")
            where = f"{place}.{int(number) + cut}.{rest}" if number.isdigit() else name
            found[where] = parameter.detach().clone()
    return found


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda case: case if isinstance(case, str) else "")
@pytest.mark.parametrize(("family", "cut"), [("opt", 1), ("opt", 2), ("llama", 1)])
def test_a_split_model_is_trained_as_the_whole_one(
    micro: Micro, name: str, settings: dict[str, Any], family: str, cut: int
) -> None:
    assert STEPS == 20
    scene = make_scene(micro.backbone(family))
    protocol: Any = made(name, {"cut": cut, "bottom": "trainable", **settings})
    assert protocol.selector == "mean"
    start = weights_of(protocol.roles(scene), cut)
    run: Run = record(protocol, scene)
    whole = trained_whole(protocol, scene, cut, start, batches(scene))
    crossed = next(m for m in run.messages if m.kind == "gradient").tensors["gradient"].squeeze(1)
    torch.testing.assert_close(crossed, torch.cat(whole.gradients), atol=1e-7, rtol=1e-3)
    found = weights_of(run.roles, cut)
    for parameter, value in whole.model.named_parameters():
        if parameter in start:
            torch.testing.assert_close(found[parameter], value.detach(), atol=2e-4, rtol=1e-3)
    moved = max(float((found[n] - start[n]).abs().max()) for n in start)
    assert moved > 10 * 2e-4  # twenty steps are far from where they began
    device: Any = run.roles[DEVICE]
    head = device._head if name == "ushape" else run.roles["server"].held()["tuned"]["head"]
    torch.testing.assert_close(head.detach(), whole.head, atol=2e-4, rtol=1e-3)
