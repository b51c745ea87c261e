"""Fed MobiLLM: devices with backbones of several sizes, one pass over their rows, one side network on the server.

Source: arXiv 2508.06765, by its abstract and third-party summaries of the method and of its reviews. Confirmed by the
abstract: frozen, pre-scaled, possibly different backbones; devices run forward only and upload selected activations;
the server trains one shared side network asynchronously. Everything in `departures` is ours or contested.

Shapes: B samples of a message, M taps, d width, K classes, D values of a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from ..backbone import Backbone
from ..data import Sample
from ..defences.defence import Part
from ..errors import UsageError
from ..federation import PATIENCE
from ..fusion import pivot_activations
from ..message import Message, Party
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role, device_number
from ..side_network import SideNetwork, SideShape, from_state
from ..wire import Wire
from .agreed import Agreed
from .alignment import Kind, aligned, other_backbone
from .arrival_server import ArrivalServer
from .fleet import Fleet
from .pae import PAE
from .pae_device import PAEDevice
from .protocol import Protocol, Scene, batches

LABEL_SITES = ("difference", "server")
TOLD = ("difference", "labels")
"""Kinds that follow a batch's activations and complete its arrival."""


@dataclass(frozen=True)
class FedMobiLLM(PAE):
    """Additive side-tuning of one side network beside the backbones of many devices, whenever a batch arrives."""

    name: ClassVar[str] = "fedmobillm"
    title: ClassVar[str] = "Fed MobiLLM"
    source: ClassVar[str] = "arXiv 2508.06765"
    claims: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    departures: ClassVar[tuple[str, ...]] = (
        "What crosses is contested: a third-party summary says output minus label, a reviewer says labels. "
        "`label_site` has both; with labels the server trains on cross-entropy of its own output, and the device "
        "predicts with that alone, because it does not send f_b.",
        "Its privacy is said by a summary to be that of PAE; no text of its own claim was seen, so none is judged.",
        "Difference, loss, head and side network are those of `pae`, with the readings named there.",
        "One pivot a tapped layer crosses: the sources do not say how many tokens; their 1.1 MB leave room for one.",
        "A pre-scaled backbone is the first `depth` blocks of a backbone, its prediction f_b read at the last of them "
        "through the final norm. How the paper scales is not confirmed.",
        "Blocks that do not divide evenly: the earlier parts are the smaller ones. Four different widths meet at the "
        "upper median.",
        "One projection for each backbone, at whatever depth it is cut, the same for all its taps; a reviewer says one "
        "for each client. Where all backbones are as wide as the side network there is none.",
        "An arriving batch is one step at the first rate; the cache is trained on for `side.epochs` passes, shuffled "
        "over all devices, once every device has sent its rows or was given up on. Between arrivals the server rests.",
        "Devices' speeds order the arrivals in event time; no clock is read.",
        "A device that waits asks again; its questions are counted as traffic.",
        "The server refuses wrong shapes and values that are no numbers or beyond 1e6; a device that sends plausible "
        "lies is not found out.",
        "Each device downloads the side network with its own backbone's projection.",
    )

    defended: ClassVar[frozenset[Part]] = frozenset({Part.LABELS, Part.DIFFERENCE, Part.SAMPLES})

    label_site: Literal["difference", "server"] = "difference"
    """Who forms the loss from the label: the device, which sends a difference, or the server, which gets the label."""
    depths: tuple[int, ...] = (0,)
    """Blocks that a device runs of its backbone, dealt to the devices in turn; 0 for all."""
    backbones: tuple[str, ...] = ("",)
    """Names or folders of the devices' backbones, dealt in turn; empty for the run's own."""
    width: int = 0
    """Of the side network; 0 for the median of the backbones' widths, the larger of two."""
    speeds: tuple[float, ...] = (1.0,)
    """Batches in a unit of time, dealt in turn; only their ratios matter."""
    at_once: bool = True
    """Whether the server takes a step on every batch that arrives; without, it only trains on the cache."""
    patience: int = PATIENCE
    """Times that a device which has sent all asks before the server goes on without those who are missing."""
    fleet: Fleet = Fleet(devices=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fleet.check(None)
        if self.label_site not in LABEL_SITES:
            raise UsageError(f"label_site {self.label_site!r} is neither difference nor server; give one of them")
        for name, values in (("depths", self.depths), ("backbones", self.backbones), ("speeds", self.speeds)):
            if not values:
                raise UsageError(f"{name} is empty; give at least one, to be dealt to the devices in turn")
        if min(self.depths) < 0:
            raise UsageError(f"depths holds {min(self.depths)}; give numbers of blocks, or 0 for all")
        if not all(0 < speed < math.inf for speed in self.speeds):
            raise UsageError("speeds holds a number that is not above 0; give each device's batches in a unit of time")
        if self.width < 0:
            raise UsageError(f"width is {self.width}; give a width, or 0 for the median of the backbones'")
        if self.patience < 1:
            raise UsageError(f"patience is {self.patience}; give at least 1 question")
        for defence in self.defences:
            if self.label_site == "server" and defence.part != Part.LABELS:
                raise UsageError(f"{self.name} sends labels here, which {defence.name} does not change; leave it away")

    @property
    def most_resent(self) -> int:
        return 0

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        told = "difference" if self.label_site == "difference" else "labels"
        return {SERVER: frozenset({"activations", told, "held:tuned"})}

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(reference for reference in self.backbones if reference)

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        """Those of a device's kind; one that runs another backbone than the run's own names it by its digest."""
        kind = self.kind_of(scene, device)
        own = kind.backbone.digest == scene.backbone.digest
        return {
            **super().facts(scene, device),
            "fusion": "additive" if self.label_site == "difference" else "side",
            "layers": list(kind.layers),
            "depth": kind.depth,
            "projection": kind.projection,
            **({} if own else {"backbone": kind.backbone.digest}),
        }

    def agreed(self, scene: Scene) -> Agreed:
        return Protocol.agreed(self, scene)  # its server waits for several devices, in one process

    def parties(self, samples: Sequence[Sample], streams: Streams) -> Mapping[Party, tuple[Sample, ...]]:
        return self.fleet.deal(samples, streams)

    def kinds(self, scene: Scene) -> tuple[list[Kind], int]:
        """Each device's kind, by the devices' numbers, and the side network's width."""
        turns = range(self.fleet.devices)
        return aligned([(self._backbone(scene, at), _dealt(self.depths, at)) for at in turns], self.width)

    def kind_of(self, scene: Scene, device: Party) -> Kind:
        return self.kinds(scene)[0][device_number(device)]

    def _backbone(self, scene: Scene, number: int) -> Backbone:
        reference = _dealt(self.backbones, number)
        return other_backbone(reference) if reference else scene.backbone

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        kinds, width = self.kinds(scene)
        by_party = {party: kinds[device_number(party)] for party in scene.samples}
        outputs = self.guard(scene).targets.width if self.label_site == "difference" else len(scene.labels)
        shape = SideShape(len(kinds[0].layers), width, self.side.bottleneck, outputs)
        streams = scene.server_streams
        widths = {kind.projection: kind.width for kind in kinds if kind.projection}
        network = SideNetwork(shape, streams.torch("weights"), widths)
        return {SERVER: ArrivalServer(network, by_party, outputs, self, streams.seed)}

    def device(self, scene: Scene, party: Party) -> Device:
        return FedDevice(party, self, scene, scene.samples[party])


def _dealt(values: Sequence[Any], number: int) -> Any:
    """What falls to a device when values are dealt in turn."""
    return values[number % len(values)]


def arrivals(messages: Iterable[Message]) -> tuple[Party, ...]:
    """The arrival log: whose batch was complete at the server, in order. `interleave` replays it."""
    return tuple(message.sender for message in messages if message.receiver == SERVER and message.kind in TOLD)


class FedDevice(PAEDevice):
    """Passes its rows through its own backbone once, then waits for the side network."""

    def __init__(self, party: Party, protocol: FedMobiLLM, scene: Scene, samples: tuple[Sample, ...]) -> None:
        kind = protocol.kind_of(scene, party)
        super().__init__(party, protocol, replace(scene, backbone=kind.backbone), samples)
        self.pace = float(_dealt(protocol.speeds, device_number(party)))
        self._order = scene.streams.torch(f"{party}:order")
        self._kind, self._site = kind, protocol.label_site

    def work(self, wire: Wire) -> Iterator[None]:
        order = [row for some in batches(self._samples, self._protocol.batch, self._order) for row in some]
        yield from self.contribute_all(wire, order, self._by_id)
        wire.request(Message("done", self.party, SERVER))
        while (answer := wire.request(Message("download", self.party, SERVER))).kind == "wait":
            yield
        self._side = from_state(answer.tensors)

    def _sent(self, pivots: torch.Tensor) -> torch.Tensor:
        return pivots

    @property
    def told(self) -> str:
        return "difference" if self._site == "difference" else "labels"

    def _told(self, pivots: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return super()._told(pivots, labels) if self._site == "difference" else labels

    def _scores(self, side: SideNetwork, pivots: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = side(pivots, self._kind.projection)
        if self._site == "server":
            return outputs
        return self.guard.reading.scores(self.backbone, pivots[:, -1], outputs)

    def _pivots(self, texts: list[str]) -> torch.Tensor:
        protocol = self._protocol
        return pivot_activations(
            self.backbone, texts, protocol.longest, protocol.prompt, protocol.selector, self._kind.layers
        )
