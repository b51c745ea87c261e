"""Traffic of protocols with a cut: states, and gradients where a device's part is trained, cross in every epoch.

Tensor bytes, with b bytes of a value at the wire's precision, M(j) values of the low-rank updates of j blocks, each
r (in + out) for every linear map, c blocks on a device and H = K d + K values of a head:

    split   up  E n (T d b + 16), and 4 M(c) a turn        down  E n T d b where gradients return, + 4 N (M(L - c) + H)
    ushape  up  E n ((T + 1) d b + 8), and 4 (M(c) + H)    down  E n d b, and E n T d b as above, + 4 N M(L - c)
                a turn

`splitfed`, `splitlora` and `mesfl` are `split` without turns, with averages (averages.py). A turn hands c blocks'
updates from one of several devices to the next: N E + N - 1 of them, sent and received by devices.
"""

from __future__ import annotations

from collections.abc import Iterator

from .envelopes import Form, Tensor
from .once import SERVER, answered, batch, device, labels
from .setting import Setting
from .traffic import Flow, batches

Tensors = tuple[Tensor, ...]


def updates(setting: Setting, blocks: int) -> Tensors:
    """Low-rank updates, at full precision."""
    return tuple(Tensor(name, shape, "fp32") for name, shape in setting.shape.updates(blocks, setting.rank))


def head(setting: Setting) -> Tensors:
    """A head and its bias, at full precision."""
    return (
        Tensor("head", (setting.classes, setting.shape.width), "fp32"),
        Tensor("bias", (setting.classes,), "fp32"),
    )


def below(setting: Setting) -> Tensors:
    """What a device trains below the cut."""
    return updates(setting, setting.cut) if setting.trainable else ()


def above(setting: Setting) -> Tensors:
    """What the server trains above it."""
    return updates(setting, setting.shape.blocks - setting.cut)


def download(party: str, tuned: Tensors) -> Iterator[Flow]:
    """The server's part, asked for and sent."""
    yield Flow(Form("download", party, SERVER))
    yield Flow(Form("tuned", SERVER, party, tensors=tuned))


def states(setting: Setting, size: int, name: str = "activations") -> Tensor:
    """Of all positions of a batch, after one block."""
    return Tensor(name, (size * setting.positions, 1, setting.shape.width), setting.precision)


def passes(setting: Setting) -> Iterator[tuple[int, int, int]]:
    """A device's batches, by epoch, size and number."""
    for epoch in range(setting.epochs):
        for size, count in batches(setting.own, setting.batch):
            yield epoch, size, count


def exchanged(setting: Setting, party: str) -> Iterator[Flow]:
    """A device's states and labels, and the gradients that return where its part is trained."""
    for epoch, size, count in passes(setting):
        yield from batch(setting, party, epoch, size, count, states(setting, size))
        if not setting.trainable:
            yield from answered(labels(party, epoch, size), count)
            continue
        yield Flow(labels(party, epoch, size), count)
        yield Flow(Form("gradient", SERVER, party, epoch, size, (states(setting, size, "gradient"),)), count)


def turns(setting: Setting, handed: Tensors) -> Iterator[Flow]:
    """What devices hand to one another: after every pass, and once more until the last one has been through all."""
    if setting.devices == 1:
        return
    for epoch in range(setting.epochs + 1):
        for at in range(setting.devices - (epoch == setting.epochs)):
            to = device((at + 1) % setting.devices)
            yield from answered(Form("turn", device(at), to, epoch, tensors=handed))


def split(setting: Setting) -> Iterator[Flow]:
    """One cut, labels at the server; several devices take turns."""
    for at in range(setting.devices):
        yield from exchanged(setting, device(at))
        yield from download(device(at), (*above(setting), *head(setting)))
    yield from turns(setting, below(setting))


def ushape(setting: Setting) -> Iterator[Flow]:
    """Two cuts: of each sample the state that the head reads comes back, and its gradient goes up."""
    for at in range(setting.devices):
        for epoch, size, count in passes(setting):
            yield from _there_and_back(setting, device(at), epoch, size, count)
        yield from download(device(at), above(setting))
    yield from turns(setting, (*below(setting), *head(setting)))


def _there_and_back(setting: Setting, party: str, epoch: int, size: int, count: int) -> Iterator[Flow]:
    one = (size, setting.shape.width)
    up, _ = batch(setting, party, epoch, size, count, states(setting, size))
    yield up
    yield Flow(Form("features", SERVER, party, epoch, size, (Tensor("features", one, setting.precision),)), count)
    back = Form("gradients", party, SERVER, epoch, size, (Tensor("gradients", one, setting.precision),))
    if not setting.trainable:
        yield from answered(back, count)
        return
    yield Flow(back, count)
    yield Flow(Form("gradient", SERVER, party, epoch, size, (states(setting, size, "gradient"),)), count)
