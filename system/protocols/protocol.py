"""What a protocol is: one way to fine-tune, with its parties, what crosses, and what is public about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from ..backbone import Backbone
from ..data import Sample
from ..defences.defence import Budget, Defence, Part
from ..defences.guard import budget, relabelled
from ..errors import UsageError
from ..message import Party
from ..public import BIDIRECTIONAL, CAUSAL
from ..randomness import Streams
from ..roles import DEVICE, Device, Role
from ..selector import ONE_STATE, SELECTORS, Selector, require_fit
from ..wire import Wire

if TYPE_CHECKING:
    from .agreed import Agreed, Hosted

T = TypeVar("T")

DATA, LABELS, MODELS = "data", "labels", "models"
"""What a paper may claim that the server does not learn."""

SORTED_BATCHES = 8
"""Batches among which rows are sorted by length."""


@dataclass(frozen=True)
class Scene:
    """What a protocol is run on."""

    backbone: Backbone
    labels: tuple[str, ...]
    samples: Mapping[Party, tuple[Sample, ...]]
    """Each device's own rows."""
    streams: Streams
    server_seed: str = ""
    """Settles what servers draw; empty where it follows from the streams' seed, which no server elsewhere is told."""
    questions: tuple[str, ...] = ()
    """Texts of the adversary's own that it may have a released model answer."""

    @property
    def server_streams(self) -> Streams:
        """What servers draw from."""
        return Streams(self.server_seed) if self.server_seed else self.streams.of("server")

    @property
    def common_streams(self) -> Streams:
        """What all devices and those who average draw alike: first weights of devices, who takes part in a round."""
        return Streams(self.server_seed) if self.server_seed else self.streams

    def targets(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Class indices (samples,) int64."""
        return torch.tensor([self.labels.index(sample.label) for sample in samples])


@dataclass(frozen=True)
class Protocol(ABC):
    """Settings are fields; every one is public unless its description says otherwise."""

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    """Paper and version, or the reason there is none."""
    claims: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By version of the paper, what it says the server does not learn."""
    departures: ClassVar[tuple[str, ...]] = ()
    """Where the implementation departs from its source or fills a gap; the report prints them."""
    defended: ClassVar[frozenset[Part]] = frozenset()
    """What of its messages defences may change."""
    trains: ClassVar[bool] = True
    """Whether a run trains the model; where it does not, rows say by themselves who was trained on, and all seeds are
    alike."""
    resumable: ClassVar[bool] = False
    """Whether its main server goes on in another process where this one's broke off."""
    shared: ClassVar[bool] = False
    """Whether over a network several devices share a run, by its name and a secret of theirs."""
    selectors: ClassVar[frozenset[Selector]] = ONE_STATE
    """What may stand for a text."""

    selector: Selector = "mean"
    """`last` is PAE MobiLLM's choice for decoders; `mean`, ours, serves the small default backbone better."""
    prompt: str = " topic:"
    """Follows every text before the forward pass; empty for none."""
    longest: int = 48
    """Tokens of a text that are used; the rest is cut."""
    defences: tuple[Defence, ...] = ()
    """In the order in which they act; their settings are public, their keys are not."""

    def __post_init__(self) -> None:
        if self.selector not in SELECTORS:
            raise UsageError(f"selector {self.selector!r} is none of {', '.join(SELECTORS)}; give one of them")
        if self.selector not in self.selectors:
            known = ", ".join(one for one in SELECTORS if one in self.selectors)
            raise UsageError(f"selector {self.selector} does not suit the task of {self.name}; give one of {known}")
        if self.longest < 1:
            raise UsageError(f"longest is {self.longest}; give at least 1 token")
        for defence in self.defences:
            if defence.part not in self.defended:
                raise UsageError(
                    f"{self.name} takes no {defence.name}, which changes its {defence.part}; leave it away"
                )

    @property
    @abstractmethod
    def shows(self) -> Mapping[Party, frozenset[str]]:
        """Per party, the kinds it receives and, as `held:NAME`, what it holds at the end.

        Messages without tensors steer a run (`train`, `download`) and are not counted.
        """

    @property
    def models(self) -> tuple[str, ...]:
        """Names or folders of models that a run needs beside its backbone."""
        return ()

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the files that a run needs beside models: the settings hold names alone."""
        return ()

    @property
    def shown(self) -> dict[str, Any]:
        """The settings as results and names of rows have them: of a folder its name, not where it lies."""
        return self.settings()

    @property
    def utility(self) -> str:
        """What the share of test rows that the tuned model answers rightly is called."""
        return "accuracy"

    @property
    def trains_on_device(self) -> bool:
        """Whether a device fits parameters of its own to labels: then what it reads off is not the server's alone."""
        return False

    def require(self, backbone: Backbone) -> None:
        """Raises UsageError where these settings and a backbone do not go together."""
        backbone.require_room(self.longest, self.prompt)
        require_fit(self.selector, backbone.causal)

    def require_scene(self, scene: Scene) -> None:
        """Raises UsageError where these settings and a scene, its classes among it, do not go together."""
        self.require(scene.backbone)

    @property
    def most_resent(self) -> int:
        """How often at most a device sends its samples again because a server says that they are lost."""
        return 0

    def roles(self, scene: Scene) -> Mapping[Party, Role]:
        """The parties of one run; raises UsageError where the settings do not suit the backbone."""
        self.require(scene.backbone)
        return {**self.servers(scene), **{party: self.device(scene, party) for party in scene.samples}}

    @abstractmethod
    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        """The parties that have no data of their own."""

    def agreed(self, scene: Scene) -> Agreed:
        """What a server on another machine is told; UsageError where the protocol is not served there."""
        raise UsageError(f"{self.name} runs in one process only; use `sidelight record` or `sidelight audit`")

    @classmethod
    def hosted(cls, agreed: Agreed, backbone: Backbone | None) -> Hosted:
        """The servers, from what was agreed on; UsageError where that does not suffice."""
        raise UsageError(f"{cls.name} is not served over a network; ask for another protocol, such as pae or splitfed")

    @abstractmethod
    def device(self, scene: Scene, party: Party) -> Device:
        """One device: it is built without the others, from its own rows."""

    @abstractmethod
    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        """The public facts of a run, beyond the settings: how what a device sends comes about."""

    def parties(self, samples: Sequence[Sample], streams: Streams) -> Mapping[Party, tuple[Sample, ...]]:
        """Whose rows are whose: one device's, unless the protocol has several."""
        return {DEVICE: tuple(samples)}

    def public_head(self, scene: Scene) -> torch.Tensor | None:
        """The frozen head (classes, d) where it is public; None where there is none or it is secret."""
        return None

    def keys(self, scene: Scene) -> Mapping[str, torch.Tensor]:
        """What a control reveals of the defences' keys; empty where they stay secret."""
        return {}

    def targets(self, scene: Scene, party: Party, samples: Sequence[Sample]) -> dict[str, int]:
        """By sample id the class that a device uses, randomised once where a defence does so."""
        drawn = relabelled(self.defences, scene.targets(samples), len(scene.labels), scene.streams, party)
        return dict(zip((sample.id for sample in samples), drawn.tolist(), strict=True))

    def budget(self, scene: Scene, releases: int = 1) -> Budget | None:
        """The privacy of a label that the defences promise; None where they promise none.

        `releases`: as often as a device has sent a sample with bytes of its own (`Device.releases`).
        """
        return budget(self.defences, len(scene.labels), releases)

    def example_budget(self, scene: Scene, releases: int = 1) -> Budget | None:
        """The privacy of a whole example; None where epsilon is infinite: something of it crosses without noise."""
        return None

    def released_budget(self, scene: Scene) -> Budget | None:
        """The privacy of an example against those who receive the tuned model; None where none is promised."""
        return None

    def public_facts(self, scene: Scene, device: Party = DEVICE) -> dict[str, Any]:
        """Everything public about a run: settings, those of the defences, and the protocol's facts of a device."""
        defences = {defence.name: defence.settings() for defence in self.defences}
        attention = CAUSAL if scene.backbone.causal else BIDIRECTIONAL
        general = {"attention": attention, "weights": scene.backbone.weights, "activations": "plain"}
        return {**self.settings(), "defences": defences, **general, **self.facts(scene, device)}

    def settings(self) -> dict[str, Any]:
        """The settings by name, without the defences."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "defences"}
        return {name: dict(vars(value)) if is_dataclass(value) else value for name, value in own.items()}


def interleave(devices: Sequence[Device], wire: Wire, order: Iterable[Party] = ()) -> None:
    """Run every device's work to its end, one exchange at a time.

    `order` says which device goes on next, exchange by exchange; what is left when it ends follows the devices' paces,
    so that devices of one pace take turns. A device whose work is over is passed over. Raises UsageError for a name of
    no device.
    """
    works = [device.work(wire) for device in devices]
    places = {device.party: place for place, device in enumerate(devices)}
    over: set[int] = set()

    def goes_on(place: int) -> bool:
        if place not in over and next(works[place], StopIteration) is StopIteration:
            over.add(place)
        return place not in over

    for party in order:
        if party not in places:
            raise UsageError(f"the order names {party}, which is no device of this run; give {', '.join(places)}")
        goes_on(places[party])
    # by the time at which each ends its next exchange; at one time, in the devices' order
    waiting = [(1 / device.pace, place, 1) for place, device in enumerate(devices)]
    heapify(waiting)
    while waiting:
        _, place, count = waiting[0]
        if goes_on(place):
            heapreplace(waiting, ((count + 1) / devices[place].pace, place, count + 1))
        else:
            heappop(waiting)


def batches(items: Sequence[T], size: int, generator: torch.Generator | None = None) -> Iterator[list[T]]:
    """Items in batches, shuffled where a generator is given."""
    count = len(items)
    order = list(range(count)) if generator is None else torch.randperm(count, generator=generator).tolist()
    for start in range(0, count, size):
        yield [items[i] for i in order[start : start + size]]


def even_batches(lengths: Sequence[int], size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Shuffled batches of row numbers in which rows are about equally long, so that little padding is computed.

    As transformers' `group_by_length`: rows are shuffled, sorted by length within runs of SORTED_BATCHES batches, and
    the batches shuffled again.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    run = size * SORTED_BATCHES
    ordered = [i for at in range(0, len(order), run) for i in sorted(order[at : at + run], key=lengths.__getitem__)]
    cut = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    for at in torch.randperm(len(cut), generator=generator).tolist():
        yield cut[at]
