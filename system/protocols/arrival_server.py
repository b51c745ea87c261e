"""The server of Fed MobiLLM: trains one side network on whatever arrives, keeps it, and trains on what it kept.

Nothing that a device sends moves the others' training but well-formed rows of its own: a message of wrong size, with
values that are no numbers, or about samples that came already is left aside and noted. Of a sample that comes again the
first sighting counts, device by device. Who sends nothing more is waited for until a device that has sent all has asked
too often.

Shapes: B samples of a message, M taps, e width of a backbone, d width of the side network, D outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from ..errors import ProtocolError
from ..federation import LARGEST, Incident
from ..message import Message, Party
from ..roles import Server
from ..side_network import PROJECT, SideNetwork
from .alignment import Kind
from .batch_order import ordered
from .protocol import batches
from .side_gradient import SideGradient
from .side_training import descend, squared_error

if TYPE_CHECKING:
    from .fedmobillm import FedMobiLLM

Sighting = tuple[Party, str]
"""A sample as a device names it: two devices' samples are two, whatever their ids."""


@dataclass(frozen=True)
class Row:
    """A sample that can be trained on."""

    projection: str
    activations: torch.Tensor
    """(M, e)"""
    target: torch.Tensor
    """(D,) difference, or () class index."""


class ArrivalServer(Server):
    """An activation cache and a side network that is trained without ever sending anything to a device that trains."""

    def __init__(
        self,
        network: SideNetwork,
        kinds: Mapping[Party, Kind],
        outputs: int,
        protocol: FedMobiLLM,
        seed: str,
    ) -> None:
        """`seed` settles the order in which the cache is trained on."""
        self._side, self._kinds, self._outputs, self._seed = network, kinds, outputs, seed
        self._training, self._at_once, self._patience = protocol.side, protocol.at_once, protocol.patience
        self._labelled = protocol.label_site == "server"
        self._optimizer = self._training.optimizer(network)
        self._gradient: SideGradient | None = None
        self._waiting: dict[Sighting, torch.Tensor] = {}
        """Activations of which nothing else is known yet."""
        self._cache: dict[Sighting, Row] = {}
        self._active, self._over = set(kinds), False
        self._asked: Counter[Party] = Counter()
        self._incidents: Counter[str] = Counter()

    def handle(self, message: Message) -> Message:
        if message.sender not in self._kinds:
            raise ProtocolError(f"{message.sender} is no device of this server")
        if message.kind in ("activations", self._told):
            self._arrive(message)
            return self.answer(message, "ready")
        if message.kind == "done":
            self._active.discard(message.sender)
            self._end_if_complete()
            return self.answer(message, "ready")
        if message.kind == "download":
            return self._give(message)
        raise ProtocolError(f"a Fed MobiLLM server takes no message of kind {message.kind!r}")

    def incidents(self) -> Mapping[str, int]:
        return dict(self._incidents)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": {name: t.detach().clone() for name, t in self._side.state_dict().items()}}

    @property
    def _told(self) -> str:
        return "labels" if self._labelled else "difference"

    # --- what arrives ---------------------------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        """Keep activations until what is told of them comes; then train on both."""
        sightings = [(message.sender, sample_id) for sample_id in message.sample_ids]
        wrong, values = self._read(message, sightings)
        if wrong is not None:
            self._note(message.sender, wrong)
        new = [at for at, sighting in enumerate(sightings) if self._is_new(message, sighting)]
        if values is None or not new:
            return
        self._asked.clear()  # who is slow is there: those who wait begin to count anew
        if message.kind == "activations":
            self._waiting.update({sightings[at]: values[at] for at in new})
            return
        projection = self._kinds[message.sender].projection
        rows = [Row(projection, self._waiting.pop(sightings[at]), values[at]) for at in new]
        self._cache.update(zip([sightings[at] for at in new], rows, strict=True))
        if self._at_once:
            self._descend(0, [rows])

    def _is_new(self, message: Message, sighting: Sighting) -> bool:
        """Whether a message is the first of its kind about a sample."""
        return sighting not in self._cache and (message.kind != "activations" or sighting not in self._waiting)

    def _read(self, message: Message, sightings: Sequence[Sighting]) -> tuple[Incident | None, torch.Tensor | None]:
        """What is wrong with a message, and its rows (B, ...), as far as they can be used."""
        if message.sender not in self._active:
            return "stale", None
        known = message.kind == "activations" or all(s in self._cache or s in self._waiting for s in sightings)
        values = self._values(message) if known and len(set(sightings)) == len(sightings) else None
        if values is None:
            return "malformed", None
        again = not all(self._is_new(message, sighting) for sighting in sightings)
        return "repeated" if again else None, values

    def _values(self, message: Message) -> torch.Tensor | None:
        """A message's one tensor, if it has the size and the values that were agreed on."""
        count, kind = len(message.sample_ids), self._kinds[message.sender]
        shapes = {
            "activations": (count, len(kind.layers), kind.width),
            "difference": (count, self._outputs),
            "labels": (count,),
        }
        try:
            values = message.tensor(message.kind, *shapes[message.kind])
        except ProtocolError:
            return None
        whole = message.kind == "labels"
        if len(message.tensors) != 1 or values.is_floating_point() == whole or not count:
            return None
        fits = (values >= 0) & (values < self._outputs) if whole else values.abs() <= LARGEST
        return values if bool(fits.all()) else None

    def _note(self, party: Party, incident: Incident) -> None:
        self._incidents[f"{party} {incident}"] += 1

    # --- training -------------------------------------------------------------------------------------------------

    def _descend(self, epoch: int, cut: Sequence[Sequence[Row]]) -> None:
        """A step on each batch of rows, at an epoch's rate."""
        if self._labelled or any(row.projection for rows in cut for row in rows):
            descend(self._optimizer, self._training, epoch, cut, self._loss)
            return
        self._gradient = self._gradient or SideGradient(self._side)
        self._training.set_rate(self._optimizer, epoch)
        for rows in cut:
            self._gradient(torch.stack([row.activations for row in rows]), torch.stack([row.target for row in rows]))
            self._optimizer.step()

    def _loss(self, rows: Sequence[Row]) -> torch.Tensor:
        """Of rows of any kinds, brought to one width kind by kind."""
        together: dict[str, list[Row]] = {}
        for row in rows:
            together.setdefault(row.projection, []).append(row)
        taps = [self._side.align(torch.stack([row.activations for row in of]), p) for p, of in together.items()]
        targets = torch.stack([row.target for of in together.values() for row in of])
        outputs = self._side.read_out(self._side.features(torch.cat(taps)))
        return cross_entropy(outputs, targets) if self._labelled else squared_error(outputs, targets)

    def _end_if_complete(self) -> None:
        """Once nobody is missing: all passes over the cache, each shuffled over the devices."""
        if self._active or self._over:
            return
        self._over = True
        of_id: dict[str, list[Row]] = {}
        for (_, sample_id), row in sorted(self._cache.items(), key=lambda item: item[0]):
            of_id.setdefault(sample_id, []).append(row)
        for epoch in range(self._training.epochs):
            rows = [row for sample_id in ordered(self._seed, epoch, of_id) for row in of_id[sample_id]]
            self._descend(epoch, list(batches(rows, self._training.batch)))

    # --- the download ---------------------------------------------------------------------------------------------

    def _give(self, message: Message) -> Message:
        """The side network with the device's own projection, once all training is over."""
        if not self._over and message.sender not in self._active:
            self._asked[message.sender] += 1
            if self._asked[message.sender] > self._patience:
                self._give_up()
        if not self._over:
            return self.answer(message, "wait")
        own = PROJECT + self._kinds[message.sender].projection
        state = {name: t for name, t in self._side.state_dict().items() if not name.startswith(PROJECT) or name == own}
        return self.answer(message, "tuned", **state)

    def _give_up(self) -> None:
        """Go on without those who are missing."""
        for party in sorted(self._active):
            self._note(party, "absent")
        self._active.clear()
        self._end_if_complete()
