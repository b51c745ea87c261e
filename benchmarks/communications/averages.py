"""Traffic of protocols in which what devices train is averaged: `splitfed`, `splitlora`, `mesfl`, `fedlora`.

Devices have as many rows each and are served in turn, so that of every average, and at the end, all but one ask once
before it is there. Whoever completes an average is answered at once, is a step ahead, and so waits for the next one.

Tensor bytes beside those of a cut (each_epoch.py), with R averages of 4 bytes a value, up and down, and once more down
at the end: `splitfed`, `splitlora` and `mesfl` 4 N M(c), `fedlora` 4 N (M(L) + H), see there for M and H.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .each_epoch import Tensors, above, below, download, exchanged, head, passes, states, updates
from .envelopes import Form
from .once import SERVER, answered, batch, device, labels
from .setting import Setting
from .traffic import Flow

FEDERATION = "federation"


@dataclass(frozen=True)
class Averager:
    """Who averages, and what it is sent and returns."""

    party: str
    tensors: Tensors = ()
    got: str = "average"
    rounds: int = 0
    early: bool = True
    """Whether devices ask it too early for an average; not where they have waited at another."""
    late: bool = True
    """The same at the end."""


def averaged(setting: Setting, of: Averager) -> Iterator[Flow]:
    """Every device's part of every average, and its leave."""
    for at in range(setting.devices):
        party = device(at)
        for done in range(of.rounds):
            last = at == _last(setting, done)
            yield from answered(Form("update", party, of.party, done, tensors=of.tensors), epoch=done + last)
            yield from _asked(Form("fetch", party, of.party, done), of, done + 1)
            if of.early and not last:
                yield from answered(Form("fetch", party, of.party, done), answer="wait")
        yield from answered(Form("leave", party, of.party), epoch=of.rounds)
        yield from _asked(Form("final", party, of.party), of, of.rounds)
        if of.late and at != _last(setting, setting.rounds):
            yield from answered(Form("final", party, of.party), answer="wait", epoch=of.rounds)


def _asked(question: Form, of: Averager, done: int) -> Iterator[Flow]:
    yield Flow(question)
    yield Flow(Form(of.got, of.party, question.sender, done, tensors=of.tensors))


def _last(setting: Setting, done: int) -> int:
    """Which device completes an average."""
    return (setting.devices - 1 - done) % setting.devices


def splitfed(setting: Setting) -> Iterator[Flow]:
    """`split` in parallel; a federation server averages devices' parts, the main server its own without traffic."""
    yield from _parallel(setting)
    trained = setting.trainable
    yield from averaged(setting, Averager(SERVER, got="ready", rounds=setting.rounds, early=not trained))
    if trained:
        yield from averaged(setting, _devices_parts(setting))


def splitlora(setting: Setting) -> Iterator[Flow]:
    """The same with one part at the main server, which is asked only whether all have left."""
    yield from _parallel(setting)
    yield from averaged(setting, Averager(SERVER, got="ready"))
    yield from averaged(setting, _devices_parts(setting))


def _devices_parts(setting: Setting) -> Averager:
    return Averager(FEDERATION, below(setting), rounds=setting.rounds, late=False)


def _parallel(setting: Setting) -> Iterator[Flow]:
    for at in range(setting.devices):
        yield from exchanged(setting, device(at))
        yield from download(device(at), (*above(setting), *head(setting)))


def mesfl(setting: Setting) -> Iterator[Flow]:
    """As `splitfed`, but a gradient is asked for in a message of its own, and the server averages devices' parts."""
    for at in range(setting.devices):
        party = device(at)
        for epoch, size, count in passes(setting):
            yield from batch(setting, party, epoch, size, count, states(setting, size))
            yield from answered(labels(party, epoch, size), count)
            yield Flow(Form("gradient", party, SERVER, epoch), count)
            yield Flow(Form("gradient", SERVER, party, epoch, size, (states(setting, size, "gradient"),)), count)
        yield from download(party, (*above(setting), *head(setting)))
    yield from averaged(setting, Averager(SERVER, below(setting), rounds=setting.rounds))


def fedlora(setting: Setting) -> Iterator[Flow]:
    """Updates of all blocks, and a head, for every average; no sample crosses."""
    whole = (*updates(setting, setting.shape.blocks), *head(setting))
    yield from averaged(setting, Averager(FEDERATION, whole, rounds=setting.rounds))
