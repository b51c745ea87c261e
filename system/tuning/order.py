"""What a person asks of a tuning, and what it is run on: protocol, backbone, and data dealt by the device's seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..backbone import Backbone, load_backbone
from ..building import Recipe, build_protocol, unfolded
from ..data import Dataset, Sample, Sizes, load, split
from ..errors import UsageError
from ..message import Party
from ..network.access import NAME
from ..network.runs import Place
from ..protocols import PROTOCOLS, Protocol, Scene
from ..protocols.split import Split
from ..randomness import Streams
from ..roles import SERVER
from ..settings import laid_over
from ..weights import Weights
from .shared import Shared

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """One tuning, as it was asked for."""

    out: Path
    data: str
    backbone: str
    weights: Weights = "fp32"
    """As which the device holds the backbone's."""
    name: Party = "device-0"
    """The device's, by which the server knows it."""
    protocol: str = "pae"
    settings: Settings = field(default_factory=dict)
    defences: Mapping[str, Settings] = field(default_factory=dict)
    """By name, in the order in which they act."""
    epochs: int | None = None
    """Passes over the samples; the protocol's own number where absent."""
    test_share: float = 0.2
    """Of the rows, those that are held out."""
    findings: Path | None = None
    """An audit's results, for the model card."""
    shared: Shared | None = None
    """The run that this device shares with others; None for one of its own."""

    def __post_init__(self) -> None:
        if not NAME.match(self.name) or self.name == SERVER:
            raise UsageError(
                f"{self.name!r} is no device's name; give 1 to 64 small letters, digits and hyphens, and not {SERVER!r}"
            )
        if not 0 < self.test_share < 1:
            raise UsageError(f"the test share is {self.test_share:g}; give a share between 0 and 1, as in 0.2")


@dataclass(frozen=True)
class Prepared:
    """What a device runs on."""

    protocol: Protocol
    scene: Scene
    held_out: tuple[Sample, ...]
    dataset: Dataset
    identity: Mapping[str, Any]
    """What has to be the same where a tuning goes on."""
    party: Party
    """This device; of others that it shares a run with, the scene has no rows."""
    place: Place | None = None
    """Where it is in such a run."""

    @property
    def notices(self) -> list[str]:
        """What was changed or left out of the data."""
        rows, used = len(self.dataset.rows), len(self.samples) + len(self.held_out)
        left = f"{rows - used} of {rows} rows are left out: near-duplicates of held-out ones, or of another side."
        return [*self.dataset.notices, *([left] if used < rows else [])]

    @property
    def epochs(self) -> int:
        """Passes over the samples."""
        table = _training(self.protocol)
        return 1 if table is None else int(getattr(self.protocol, table).epochs)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What is trained on."""
        return self.scene.samples[self.party]


def prepared(order: Order, seed: str) -> Prepared:
    """Everything that can be wrong with an order is found here, before anything is written or sent."""
    protocol = _protocol(order)
    backbone = load_backbone(order.backbone, order.weights)
    protocol.require(backbone)
    streams = Streams(seed)
    dataset = load(order.data, streams.numpy("data"))
    parts = split(dataset, _sizes(dataset, order.test_share), streams.numpy("split"))
    if not parts.victim_test:
        raise UsageError(
            f"none of the {len(dataset.rows)} rows can be held out that is no near-duplicate of the others; give more "
            "varied ones"
        )
    shared, party = order.shared, order.shared.party if order.shared else order.name
    samples = {**dict.fromkeys(_others(order, protocol), ()), party: parts.victim_train}
    scene = Scene(backbone, parts.labels, samples, streams.of("run"), shared.seed if shared else "")
    protocol.agreed(scene)  # refuses what no server on a network takes part in
    identity, place = _identity(order, protocol, backbone, dataset), shared.place if shared else None
    return Prepared(protocol, scene, parts.victim_test, dataset, identity, party, place)


def _others(order: Order, protocol: Protocol) -> tuple[Party, ...]:
    """All devices of a run that is shared, in order; raises UsageError where one is asked for and none can be had."""
    if protocol.shared and order.shared is None:
        raise UsageError(f"{protocol.name} is trained by several devices; give --run, --party and --run-secret")
    if order.shared is None:
        return ()
    if not isinstance(protocol, Split) or not protocol.shared:
        raise UsageError(f"{protocol.name} is one device's own; leave --run, --party and --run-secret away")
    parties = protocol.fleet.parties
    if order.shared.party not in parties:
        raise UsageError(
            f"{order.shared.party!r} is no device of the run; give {parties[0]} to {parties[-1]} as --party"
        )
    return parties


def _protocol(order: Order) -> Protocol:
    settings = order.settings
    if order.epochs is not None:
        settings = laid_over(settings, _epochs(order))
    return build_protocol(*unfolded(Recipe(order.protocol, settings, order.defences)))


def _epochs(order: Order) -> Settings:
    """The setting that says how many passes there are."""
    name, _, _ = unfolded(Recipe(order.protocol, {}, {}))
    table = _training(PROTOCOLS[name])
    if table is None:
        raise UsageError(f"{order.protocol} has no number of epochs; leave --epochs away")
    if "epochs" in order.settings.get(table, {}):
        raise UsageError(f"{table}.epochs and --epochs are both given; give one of them")
    return {table: {"epochs": order.epochs}}


def _training(protocol: type[Protocol] | Protocol) -> str | None:
    """The name of the table of settings that holds the number of epochs."""
    tables = (field for field in fields(protocol) if is_dataclass(field.default))
    return next((table.name for table in tables if "epochs" in vars(table.default)), None)


def _sizes(dataset: Dataset, test_share: float) -> Sizes:
    """Rows held out and rows trained on; nobody else gets any."""
    held_out = round(test_share * len(dataset.rows))
    return Sizes(len(dataset.rows) - held_out, held_out, auxiliary=0, non_member=0)


def _identity(order: Order, protocol: Protocol, backbone: Backbone, dataset: Dataset) -> dict[str, Any]:
    return {
        "protocol": protocol.name,
        "settings": protocol.settings(),
        "defences": [[defence.name, defence.settings()] for defence in protocol.defences],
        "weights": backbone.weights,
        "backbone": backbone.digest,
        "data": dataset.digest,
        "test share": order.test_share,
        "name": order.name,
        **({"run": order.shared.run, "party": order.shared.party} if order.shared else {}),
    }
