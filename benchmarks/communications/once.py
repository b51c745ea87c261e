"""Traffic of protocols that send a sample's states once: `pae`, `pae_lm`, `fedmobillm`; and of `mobillm`, each epoch.

Tensor bytes, with b bytes of a value at the wire's precision, 4 of one that is downloaded, and q of a place in the
vocabulary, 2 where V <= 65,536 and 4 beyond:

    pae         up  n (L d + K) b                                down  4 (2 L d r + L + K d + K)
    pae_lm      up  n (T - 1) ((L d + k) b + k q) + 16 n         down  the same with V for K
    fedmobillm  up  n (L d + K) b                                down  N times what pae does
    mobillm     up  E n (T L d b + 16)                           down  what pae does

int8, int4 and int2 add two bytes for each 64 values of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator

from .envelopes import Form, Tensor
from .setting import Setting
from .traffic import Flow, batches

SERVER = "server"
FIRST = "device-0"


def device(number: int) -> str:
    """A device's name."""
    return f"device-{number}"


def answered(form: Form, count: int = 1, answer: str = "ready", epoch: int | None = None) -> Iterator[Flow]:
    """A message, and an answer that holds nothing."""
    yield Flow(form, count)
    yield Flow(Form(answer, form.receiver, form.sender, form.round if epoch is None else epoch), count)


def side_network(setting: Setting, outputs: int) -> tuple[Tensor, ...]:
    """The weights that are downloaded, at full precision."""
    layers, width, rank = setting.shape.blocks, setting.shape.width, setting.rank
    shapes = {
        "alpha": (layers,),
        "down": (layers, width, rank),
        "up": (layers, rank, width),
        "out": (outputs, width),
        "bias": (outputs,),
    }
    return tuple(Tensor(name, shape, "fp32") for name, shape in shapes.items())


def download(setting: Setting, outputs: int, party: str = FIRST) -> Iterator[Flow]:
    """The side network, asked for and sent."""
    yield Flow(Form("download", party, SERVER))
    yield Flow(Form("tuned", SERVER, party, tensors=side_network(setting, outputs)))


def pae(setting: Setting) -> Iterator[Flow]:
    """Samples are announced, sent once, and trained on epoch after epoch without the device."""
    yield from _announced(setting)
    yield from pivots(setting, FIRST, setting.samples)
    yield from _trained(setting)
    yield from download(setting, setting.classes)


def pivots(setting: Setting, party: str, samples: int) -> Iterator[Flow]:
    """One state a layer and a difference, of each sample."""
    shape, precision = setting.shape, setting.precision
    for size, count in batches(samples, setting.batch):
        states = Tensor("activations", (size, shape.blocks, shape.width), precision)
        told = Tensor("difference", (size, setting.classes), precision)
        for tensor in (states, told):
            yield from answered(Form(tensor.name, party, SERVER, ids=size, tensors=(tensor,)), count)


def _announced(setting: Setting) -> Iterator[Flow]:
    yield Flow(Form("samples", FIRST, SERVER, ids=setting.samples))
    yield Flow(Form("wanted", SERVER, FIRST, ids=setting.samples))


def _trained(setting: Setting) -> Iterator[Flow]:
    for epoch in range(setting.epochs):
        yield from answered(Form("train", FIRST, SERVER, epoch))


def pae_lm(setting: Setting) -> Iterator[Flow]:
    """As `pae`, with a state a layer of every position but the last, and k entries of each one's difference."""
    shape, precision = setting.shape, setting.precision
    places = "uint16" if shape.vocabulary <= 1 << 16 else "int32"
    yield from _announced(setting)
    for size, count in batches(setting.samples, setting.batch):
        positions = size * (setting.positions - 1)
        lengths = Tensor("lengths", (size,), "int64")
        states = Tensor("activations", (positions, shape.blocks, shape.width), precision)
        indices = Tensor("indices", (positions, setting.entries), places)
        values = Tensor("values", (positions, setting.entries), precision)
        yield from answered(Form("activations", FIRST, SERVER, ids=size, tensors=(lengths, states)), count)
        yield from answered(Form("difference", FIRST, SERVER, ids=size, tensors=(lengths, indices, values)), count)
    yield from _trained(setting)
    yield from download(setting, shape.vocabulary)


def mobillm(setting: Setting) -> Iterator[Flow]:
    """All positions of all layers in every epoch, and the labels."""
    shape = setting.shape
    for epoch in range(setting.epochs):
        for size, count in batches(setting.samples, setting.batch):
            states = Tensor("activations", (size * setting.positions, shape.blocks, shape.width), setting.precision)
            yield from batch(setting, FIRST, epoch, size, count, states)
            yield from answered(labels(FIRST, epoch, size), count)
    yield from download(setting, setting.classes)


def batch(setting: Setting, party: str, epoch: int, size: int, count: int, states: Tensor) -> Iterator[Flow]:
    """A batch's states at all positions, with the lengths of its texts."""
    tensors = (states, Tensor("lengths", (size,), "int64"))
    yield from answered(Form("activations", party, SERVER, epoch, size, tensors), count)


def labels(party: str, epoch: int, size: int) -> Form:
    """A batch's labels."""
    return Form("labels", party, SERVER, epoch, size, (Tensor("labels", (size,), "int64"),))


def fedmobillm(setting: Setting) -> Iterator[Flow]:
    """As `pae` from each device; whoever is done asks once for the side network before the last one is done."""
    for at in range(setting.devices):
        yield from pivots(setting, device(at), setting.own)
        yield from answered(Form("done", device(at), SERVER))
        yield from download(setting, setting.classes, device(at))
    for at in range(setting.devices - 1):
        yield from answered(Form("download", device(at), SERVER), answer="wait")
