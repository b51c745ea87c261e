"""Memory-efficient split federated learning: devices with different cuts, and one model at the server for all of them.

Devices run their blocks in parallel. The server holds one full model and of every device the low-rank updates above its
cut; it serves their batches one after another, in the order of a schedule. From time to time it joins each device's
updates with its own for that device, averages over devices layer by layer, and cuts the average at each device's depth.
Source: arXiv 2506.02940, abstract and summaries; the method's section was not read, and no code is public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch

from ..adapters import above, below
from ..data import Sample
from ..errors import UnknownName, UsageError
from ..federation import PATIENCE, Federation
from ..heads import verbaliser
from ..low_rank import factors_mean, products_mean, trimmed
from ..message import Message, Party
from ..partial import Bottom, load_tuned, stored_top, tuned_state
from ..profiles import PROFILES, Load, Profile, deepest, quickest, shape_of
from ..roles import DEVICE, SERVER, Device, Role, device_number
from ..schedule import Job
from ..wire import Wire
from .averaged import AveragedCutDevice, check_averages
from .fleet import Fleet
from .one_model import OneModel, OneModelServer, Part
from .protocol import Scene
from .split import Split

Assign = Literal["given", "memory", "link"]
ASSIGN: tuple[Assign, ...] = get_args(Assign)


@dataclass(frozen=True)
class MeSFL(Split):
    """One model at the server, cut for each device at its own depth."""

    name: ClassVar[str] = "mesfl"
    title: ClassVar[str] = "Memory-efficient SFL"
    source: ClassVar[str] = "arXiv 2506.02940"
    departures: ClassVar[tuple[str, ...]] = (
        "Re-implemented from the abstract and summaries. That gradients of the activations return is not confirmed; "
        "without them the device could not train.",
        "The rule and the interval of the averages are not confirmed: factors are averaged apart and unweighted, as "
        "the objective's 1/U suggests, by default after every pass over a device's rows.",
        "The order in which the server serves devices is not confirmed; `schedule` names ours. It changes when a "
        "device gets its gradient, never what is trained.",
        "Both sides are tuned by LoRA; the head starts from the verbaliser, one for each device, and is averaged, too.",
        "All devices start from one set of updates; each keeps the state of its optimiser over an average, and so does "
        "the server for each of them.",
        "Cuts are dealt to devices in turn; with `assign` they are found from modelled profiles, by rules of ours. The "
        "formula by which the authors' server finds them is not confirmed.",
        "Where ranks differ, which the paper leaves to future work, products are averaged (HLoRA's rule) and factored "
        "anew for each device, turned towards the factors that it began from, as optimisers keep their state.",
        "A device's cut, which the paper lets it send with every batch, is public and known to the server beforehand.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "With averages by batches a device with more rows goes on when the others have left: the last averages are its "
        "own.",
        "A device that waits asks again; its questions are counted as traffic. Each lets the server serve one batch.",
        "Devices download the server's update at the end, so that they can predict alone.",
    )

    shared: ClassVar[bool] = True

    bottom: Literal["frozen", "trainable"] = "trainable"
    cuts: tuple[int, ...] = ()
    """Blocks on each device, dealt in turn; empty for `cut` on all."""
    every: int = 0
    """Batches of a device between two averages; 0 for a pass over its rows."""
    patience: int = PATIENCE
    """Times that a waiting device asks before a round ends without those who are missing."""
    schedule: Literal["arrival", "tail"] = "tail"
    """Which of the batches that wait the server takes next: by modelled tails, where devices have profiles."""
    profiles: tuple[str, ...] = ()
    """Kinds of devices (system/profiles.py), dealt in turn; empty where nothing is modelled."""
    assign: Assign = "given"
    """Where cuts come from: `cuts`; as many blocks as a profile's memory takes; the least modelled step within it, with
    a lower rank, too, where `lora.rank` would make steps longer."""
    fleet: Fleet = Fleet(devices=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bottom != "trainable" or self.lora.full:
            raise UsageError("mesfl trains low-rank updates on both sides; leave bottom trainable and lora.full false")
        if self.schedule not in ("arrival", "tail"):
            raise UsageError(f"schedule {self.schedule!r} is neither arrival nor tail; give one of them")
        if self.assign not in ASSIGN:
            raise UsageError(f"assign {self.assign!r} is none of {', '.join(ASSIGN)}; give one of them")
        if self.assign != "given" and (not self.profiles or self.cut or self.cuts):
            raise UsageError(f"assign {self.assign!r} finds cuts from profiles; give profiles, and no cut or cuts")
        for profile in self.profiles:
            if profile not in PROFILES:
                raise UnknownName("profile", profile, PROFILES)
        check_averages(self.every, self.patience)

    @property
    def averaged(self) -> int | None:
        return self.every

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "labels", "update", "held:start", "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {**super().facts(scene, device), "rank": self.rank_of(scene, device)}

    def cut_of(self, scene: Scene, device: Party = DEVICE) -> int:
        if self.assign != "given":
            return self.load_of(scene, device).cut
        if not self.cuts:
            return super().cut_of(scene, device)
        cut, blocks = self.cuts[device_number(device) % len(self.cuts)], len(scene.backbone.blocks)
        if not 1 <= cut < blocks:
            raise UsageError(f"cuts holds {cut}; give 1 to {blocks - 1}: the backbone has {blocks} blocks")
        return cut

    def rank_of(self, scene: Scene, device: Party = DEVICE) -> int:
        return self.load_of(scene, device).rank if self.assign == "link" else self.lora.rank

    def profile_of(self, device: Party) -> Profile:
        """A device's profile."""
        return PROFILES[self.profiles[device_number(device) % len(self.profiles)]]

    def load_of(self, scene: Scene, device: Party) -> Load:
        """What a batch of the longest texts asks of a device, with the cut and rank that are assigned to it."""
        around = len(scene.backbone.prefix) + len(scene.backbone.token_ids(self.prompt)) + len(scene.backbone.suffix)
        shape, positions = shape_of(scene.backbone), self.longest + around
        load = Load(shape, 1, self.lora.rank, self.lora.batch, positions, self.every)
        if self.assign == "given":
            return replace(load, cut=self.cut_of(scene, device))
        loads = [replace(load, cut=cut) for cut in range(1, shape.blocks)]
        if self.assign == "memory":
            return deepest(self.profile_of(device), loads)
        ranks = [self.lora.rank >> halved for halved in range(self.lora.rank.bit_length())]
        return quickest(self.profile_of(device), [replace(load, rank=rank) for load in loads for rank in ranks])

    def job_of(self, scene: Scene, device: Party) -> Job:
        """A batch of a device as the schedule sees it: of work alone where devices have no profiles."""
        return self.load_of(scene, device).job(self.profile_of(device)) if self.profiles else Job(0.0, 1.0)

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        cuts = {party: self.cut_of(scene, party) for party in scene.samples}
        ranks = {party: self.rank_of(scene, party) for party in scene.samples}
        start = self._start(scene)
        lowest = min(cuts.values())
        top = stored_top(scene.backbone, lowest, self.selector, above(start, lowest))
        model = OneModel(top, set(cuts.values()))
        parts = {party: Part(self, cuts[party], ranks[party], start, self.job_of(scene, party)) for party in cuts}
        mean = factors_mean if len(set(ranks.values())) == 1 else products_mean
        drawn = self.fleet.rounds(cuts, scene.common_streams)
        federation = Federation(tuple(cuts), start, self.patience, mean, drawn)
        return {SERVER: OneModelServer(self, model, parts, federation, self.schedule)}

    def device(self, scene: Scene, party: Party) -> Device:
        return MeSFLDevice(party, self, scene, scene.samples[party])

    def bottom_of(self, scene: Scene, device: Party = DEVICE) -> Bottom:
        bottom, rank = super().bottom_of(scene, device), self.rank_of(scene, device)
        load_tuned(bottom, below(trimmed(self._start(scene), rank), self.cut_of(scene, device)))
        return bottom

    def _start(self, scene: Scene) -> dict[str, torch.Tensor]:
        """The updates of all blocks, and the head, that all begin from: the same whatever the cuts."""
        head, rank = verbaliser(scene.backbone, scene.labels), max(self.rank_of(scene, one) for one in scene.samples)
        everything = Bottom(scene.backbone, len(scene.backbone.blocks), rank, scene.common_streams.torch("server"))
        return {**tuned_state(everything), "head": head, "bias": torch.zeros(len(head))}


class MeSFLDevice(AveragedCutDevice):
    """Sends a batch, and asks for its gradient until the server has served it."""

    def __init__(self, party: Party, protocol: MeSFL, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples, protocol.every, {SERVER: True})

    def turn(self, wire: Wire, rows: list[Sample], epoch: int) -> Iterator[None]:
        states, sent = self.forward(rows, epoch)
        wire.request(sent)
        wire.request(self.labels(epoch, sent.sample_ids))
        yield
        while (answer := wire.request(Message("gradient", self.party, SERVER, epoch))).kind == "wait":
            yield
        self.backward(states, answer.tensor("gradient", len(states), 1, states.shape[1]))
        yield
