"""How far a tuning is, for whoever watches: samples sent, batches trained on. Nothing else of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from ..progress import Progress
from ..protocols.pae_device import ACTIVATIONS
from ..roles import SERVER
from ..wire import Traffic
from .order import Prepared

SENDING, TRAINING, LOADING = "computing and sending", "training, epochs", "downloading"

Trained = Callable[[int, int], None]
"""Told how many batches were trained on, and of how many."""


class Phases:
    """Reads off a device's messages where it is."""

    def __init__(self, progress: Progress, ready: Prepared) -> None:
        self._progress, self._ready = progress, ready
        self._messages = -(-len(ready.samples) // getattr(ready.protocol, "batch", 1))

    def __enter__(self) -> Phases:
        self._progress.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.__exit__(kind, error, at)

    def look(self, traffic: Traffic) -> None:
        """After an exchange."""
        sent, asked = (traffic.messages[(kind, self._ready.party, SERVER)] for kind in (ACTIVATIONS, "train"))
        epochs = self._ready.epochs
        whole = max(self._messages, sent)
        self._progress.part(SENDING, whole if asked else sent, whole)
        if asked:
            self._progress.part(TRAINING, min(asked, epochs), epochs)
        if asked >= epochs:
            self._progress.part(LOADING, 0, 1)

    def trained(self, done: int, total: int) -> None:
        """While an epoch is trained."""
        if total:
            self._progress.part(TRAINING, self._ready.epochs * done / total, self._ready.epochs)
