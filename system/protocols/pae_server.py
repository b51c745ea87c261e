"""The server of PAE MobiLLM: keeps what came, and trains the side network on it, batch by batch, or with privacy.

Which samples make a batch is settled by the device's seed, the epoch and the ids that the device announced: a batch is
trained on once its samples are there, whenever that is, and the weights are the same. So training may begin while the
device still sends, and go on in another process from a checkpoint.

Shapes: N samples announced, B samples of a message or batch, L layers, d width, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch

from ..cache import Absent, Cache, MemoryCache
from ..defences.defence import PrivateSteps
from ..errors import ProtocolError
from ..message import Message
from ..randomness import Streams
from ..roles import ResumableServer
from ..side_network import SideNetwork, SideShape
from .batch_order import ordered
from .checkpoint import IDS, State, load_training, packed_ids, training_state, unpacked_ids
from .protocol import batches
from .side_gradient import SideGradient
from .side_training import SideTraining

if TYPE_CHECKING:
    from .private_training import PrivateTraining

KINDS = ("activations", "difference")
"""What has to be there of a sample before it is trained on."""
PLACE, GENERATOR = "place", "generator"


class PAEServer(ResumableServer):
    """An activation cache, and a side network that is trained on it without the device."""

    def __init__(
        self,
        shape: SideShape,
        training: SideTraining,
        streams: Streams,
        private: PrivateSteps | None = None,
    ) -> None:
        """`streams` are of a seed that the device knows too: it settles first weights and the order of batches."""
        self._shape, self._training, self._streams, self._steps = shape, training, streams, private
        self._cache: Cache = MemoryCache()
        self._ids: tuple[str, ...] = ()
        self._beginnings = 0
        self._begin()

    def _begin(self) -> None:
        """The state before any training."""
        self._beginnings += 1
        self._side = SideNetwork(self._shape, self._streams.torch("weights"))
        self._optimizer = self._training.optimizer(self._side)
        self._gradient: SideGradient | None = None  # made when it is first needed: it takes memory
        self._private = self._privately(self._steps) if self._steps is not None else None
        self._turn_to(0, 0)
        self.unsaved = True

    def _privately(self, steps: PrivateSteps) -> PrivateTraining:
        from .private_training import PrivateTraining  # Opacus takes a second to load

        sizes = (self._shape.layers, self._shape.width), (self._shape.outputs,)
        noise = self._streams.torch(f"private steps {self._beginnings}")  # never the same twice
        return PrivateTraining(self._side, self._optimizer, sizes, steps, noise)

    def keep_in(self, cache: Cache) -> None:
        self._cache = cache

    # --- messages --------------------------------------------------------------------------------------------------

    def handle(self, message: Message) -> Message:
        if message.kind in KINDS:
            self._keep(message)
            return self.answer(message, "ready")
        if message.kind == "samples":
            self._announce(message.sample_ids)
            return self.answer_ids(message, "wanted", self._wanted(self._ids))
        if message.kind == "train":
            return self._trained(message)
        if message.kind == "download":
            return self.answer(message, "tuned", **self._side.state_dict())
        if message.kind == "forget":
            self._forget(message.sample_ids)
            return self.answer(message, "ready")
        raise ProtocolError(f"a PAE server takes no message of kind {message.kind!r}")

    def _announce(self, ids: tuple[str, ...]) -> None:
        """Which samples the training is on."""
        if not ids or len(set(ids)) != len(ids):
            raise ProtocolError("the list of samples is empty or names one twice; announce each sample once")
        asked = tuple(sorted(ids))
        if asked == self._ids:
            return
        if self._ids:
            raise ProtocolError("other samples were announced before; let them be forgotten first")
        self._ids = asked
        self._turn_to(0, 0)
        self.unsaved = True

    def _keep(self, message: Message) -> None:
        rows = message.tensor(message.kind, None, *self._row_shape(message.kind))
        ids = message.sample_ids
        if not rows.is_floating_point():
            raise ProtocolError(f"{message.kind} came as whole numbers; send floating-point ones")
        if len(rows) != len(ids):
            raise ProtocolError(f"{message.kind} of {len(rows)} rows came for {len(ids)} samples; send one each")
        self._require_announced(ids)
        self._cache.put(message.kind, ids, rows, message.precision)

    def _require_announced(self, ids: tuple[str, ...]) -> None:
        if len(set(ids)) != len(ids):
            raise ProtocolError(f"a message of {len(ids)} samples names one twice; send one each")
        if strangers := set(ids) - self._announced:
            raise ProtocolError(f"{len(strangers)} samples were not announced; announce all before they are sent")

    def _row_shape(self, kind: str) -> tuple[int, ...]:
        """Of one sample's tensor."""
        return (self._shape.layers, self._shape.width) if kind == "activations" else (self._shape.outputs,)

    def _wanted(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Of samples those of which something is not there."""
        ids = list(ids)
        absent = set().union(*(self._cache.missing(kind, ids) for kind in KINDS))
        return tuple(sample_id for sample_id in ids if sample_id in absent)

    def _trained(self, message: Message) -> Message:
        """Train to the end of an epoch; where samples are not there, say which."""
        if message.round >= self._training.epochs:
            raise ProtocolError(f"epoch {message.round} is beyond the {self._training.epochs} that were agreed on")
        if not self._ids:
            raise ProtocolError("no samples were announced; announce them, then send them, then ask for training")
        while self._epoch <= message.round:
            if not self.step():
                return self.answer_ids(message, "wanted", self._wanted(self._ids))
        return self.answer(message, "ready")

    def _forget(self, ids: tuple[str, ...]) -> None:
        """Samples, or all, with everything that was trained on any of them."""
        if ids and self._private is not None:
            raise ProtocolError("the privacy promised is of one training; let all samples be forgotten, not some")
        if ids:
            self._cache.forget(ids)
            gone = set(ids)
            self._ids = tuple(sample_id for sample_id in self._ids if sample_id not in gone)
        else:
            self._cache.clear()
            self._ids = ()
        self._begin()

    # --- training --------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        if self._epoch >= self._training.epochs or not self._ids:
            return False
        try:
            if self._private is not None:
                self._private_epoch(self._private)
            else:
                self._step_on(self._batches[self._batch])
        except Absent:
            return False
        if self._batch + 1 < len(self._batches) and self._private is None:
            self._batch += 1
        else:
            self._turn_to(self._epoch + 1, 0)
            self.unsaved = True
        return True

    def due(self, message: Message) -> bool:
        return message.kind != "train" or self._epoch > message.round

    @property
    def progress(self) -> tuple[int, int]:
        return self._epoch * len(self._batches) + self._batch, self._training.epochs * len(self._batches)

    def _step_on(self, ids: list[str]) -> None:
        activations, targets = (self._cache.kept(kind, ids) for kind in KINDS)
        self._gradient = self._gradient or SideGradient(self._side)
        self._gradient(activations, targets)
        self._training.set_rate(self._optimizer, self._epoch)
        self._optimizer.step()

    def _private_epoch(self, private: PrivateTraining) -> None:
        """An epoch is one step here: any sample may stand in any of its batches."""
        if absent := self._wanted(self._ids):
            raise Absent(absent)
        ids = self._ids

        def rows(places: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
            asked = [ids[place] for place in places]
            return self._cache.rows(KINDS[0], asked), self._cache.rows(KINDS[1], asked)

        private.epoch(self._training.rate(self._epoch), len(ids), rows)

    def _turn_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._batch = epoch, batch
        self._announced = frozenset(self._ids)
        self._batches = list(batches(ordered(self._streams.seed, epoch, self._ids), self._training.batch))

    # --- what outlives the process ---------------------------------------------------------------------------------

    def state(self) -> dict[str, torch.Tensor]:
        found = training_state(self._side, self._optimizer)
        found |= {IDS: packed_ids(self._ids), PLACE: torch.tensor([self._epoch, self._batch, self._beginnings])}
        if self._private is not None:
            found[GENERATOR] = self._private.generator.get_state().clone()
        return found

    def load(self, state: State) -> None:
        self._ids = unpacked_ids(state[IDS])
        epoch, batch, self._beginnings = state[PLACE].tolist()
        load_training(self._side, self._optimizer, state)
        if self._private is not None:
            self._private.resume(epoch, state[GENERATOR])
        self._turn_to(epoch, batch)
        self.unsaved = False

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": {name: t.detach().clone() for name, t in self._side.state_dict().items()}}
