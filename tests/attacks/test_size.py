"""Lengths by sizes, exactly where one text crosses alone; and what protocols leave of them."""

from __future__ import annotations

import math

import pytest
import torch

from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.evidence.labels.sizes import class_weights, positions_of
from sidelight.system.message import Message, encode
from sidelight.system.packets import carried
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.roles import DEVICE, SERVER

from ..contracts.leaks_sizes import by_length, mobillm, overheard
from ..contracts.micro import LABELS, Micro
from ..contracts.planted import Planted, attacked, made, pae

ROWS = by_length()


def sizes(planted: Planted) -> dict[str, int]:
    """By an eavesdropper's number, the size of the packet."""
    return {i: int(m.tensors["bytes"]) for m in planted.view.messages for i in m.sample_ids}


def share(planted: Planted) -> float:
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    found = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    return [found[i] == label for i, label in planted.truth.labels.items()].count(True) / len(planted.truth.labels)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("batch", [1, 4])
def test_positions_are_read_off_the_size_of_a_packet(micro: Micro, precision: str, batch: int) -> None:
    """Numbers follow the order in which samples crossed, so that the truth's own rows say how long each packet is."""
    planted = overheard(micro, mobillm(batch, precision=precision), ROWS[:12])
    backbone = micro.backbone("opt")
    text = dict(zip(planted.truth.labels, (row.text for row in ROWS[:12]), strict=True))  # both in the rows' order
    for message in (one for one in planted.view.messages if one.sample_ids):
        tokens = backbone.tokens([text[i] for i in message.sample_ids], 48, planted.public.facts["prompt"])
        found = positions_of(message.tensors["bytes"], batch, planted.public)
        assert found is not None
        assert float(found) == pytest.approx(int(tokens.mask.sum()), abs=0.3)


def test_one_position_of_every_text_makes_all_packets_alike(micro: Micro) -> None:
    """Only how many messages went before shows: as a number, it takes a byte more from the 128th on."""
    planted = overheard(micro, pae(batch=1), ROWS)
    assert max(sizes(planted).values()) - min(sizes(planted).values()) <= 2
    assert share(planted) == 1 / 6


def size_of(kind: str, samples: int, classes: int = 0) -> int:
    """Of a message of so many samples, as anybody can make it who knows the protocol."""
    tensors = {kind: torch.zeros(samples, classes)} if classes else {}
    return carried(len(encode(Message(kind, DEVICE, SERVER, sample_ids=("0" * 16,) * samples, tensors=tensors))))


def test_sizes_and_counts_tell_how_many_samples_classes_and_passes_there_are(micro: Micro) -> None:
    """Of `pae`, a sample a message: the list of samples, each one's activations and difference, a request a pass."""
    protocol = pae(batch=1)
    packets = overheard(micro, protocol, ROWS).view.messages
    up = [int(m.tensors["bytes"]) for m in packets if int(m.tensors["up"])]
    assert [n for n in range(1, 200) if size_of("samples", n) == up[0]] == [len(ROWS)]
    assert [k for k in range(2, 200) if size_of("difference", 1, k) == up[2]] == [len(LABELS)]
    passes = len(up) - 1 - 2 * len(ROWS) - 1  # without the list at first and the download at last
    assert passes == protocol.settings()["side"]["epochs"]


def test_texts_that_come_together_hide_each_other_unless_they_are_of_one_length(micro: Micro) -> None:
    mixed = share(overheard(micro, mobillm(12), ROWS))
    split = made("split", lora=LoraTraining(rank=2, epochs=1, batch=12, learning_rate=1e-3))
    assert mixed <= 0.5
    assert share(overheard(micro, split, ROWS)) >= mixed + 0.2


def test_alone_a_text_weighs_what_the_kernel_estimate_of_its_class_says() -> None:
    lengths, labels = torch.tensor([4, 6, 9]), torch.tensor([0, 0, 1])
    found = class_weights(torch.tensor([5.0, 9.0], dtype=torch.float64), 1, lengths, labels, 2, width=2.0)

    def near(apart: float) -> float:
        return math.exp(-(apart**2) / 8)

    expected = [[(near(1) + near(1)) / 2, near(4)], [(near(5) + near(3)) / 2, near(0)]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=0)


@pytest.mark.parametrize("together", [False, True])
def test_the_variance_of_sums_tells_whether_texts_of_one_length_came_together(together: bool) -> None:
    """Two lengths, four texts a packet: four equal ones leave no doubt, four drawn at random do."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (400, 1 if together else 4), generator=generator)
    sums = (10 + 10 * labels.double()).expand(-1, 4).sum(1)
    lengths, owners = torch.tensor([10, 20] * 20), torch.tensor([0, 1] * 20)
    guessed = class_weights(sums, 4, lengths, owners, 2, width=1.0).argmax(1)
    right = float((guessed.unsqueeze(1) == labels).double().mean())
    # by hand: of four coins, saying what most of them show is right for 11/16, as ties are right for half
    assert right == 1.0 if together else abs(right - 11 / 16) < 0.06


def test_rows_of_this_file_are_as_long_as_their_class_says() -> None:
    assert [len(row.text.split()) for row in ROWS[:6]] == [2, 5, 8, 11, 14, 17]
