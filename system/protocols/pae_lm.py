"""PAE MobiLLM for language modelling: every token that is predicted is a pivot, and the difference is the vocabulary's.

Source: arXiv 2507.01216, versions 1 and 2, by their abstracts and third-party summaries of the method: the pivots are
the tokens that the loss is computed on. In language modelling these are all but the first. Everything in `departures`
is ours. What the difference is about is the next token, so that a label here is text.

Shapes: B samples, P positions of all of them, L layers, d width, k entries, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from ..backbone import Backbone
from ..codec import PRECISIONS, Precision
from ..data import Sample
from ..errors import UsageError
from ..language import Quality, chances, class_likelihoods, loss_positions, quality, trained_tokens, tuned_chances
from ..message import Message, Party
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role
from ..selector import LOSS, Selector
from ..side_network import SideShape
from ..sparse_difference import Sparse, sparse_difference, sparse_error
from ..wire import Wire
from .agreed import Agreed, Hosted, SideAgreed
from .once import LOSSES, OnceDevice
from .pae_lm_rows import (
    ACTIVATIONS,
    DIFFERENCE,
    Positions,
    Sizes,
    keep_activations,
    keep_difference,
    kept_rows,
    messages,
    put_rows,
)
from .pae_server import PAEServer
from .protocol import DATA, LABELS, MODELS, Protocol, Scene
from .side_training import SideTraining, descend


@dataclass(frozen=True)
class PAELM(Protocol):
    """Additive side-tuning on every loss token, with sparse differences."""

    name: ClassVar[str] = "pae_lm"
    title: ClassVar[str] = "PAE MobiLLM, language modelling"
    source: ClassVar[str] = "arXiv 2507.01216 v1 and v2"
    claims: ClassVar[Mapping[str, tuple[str, ...]]] = {"v1": (DATA, LABELS, MODELS), "v2": (DATA, LABELS)}
    departures: ClassVar[tuple[str, ...]] = (
        "No source says what crosses in language modelling: here the states of every position whose next token is "
        "there, and the `entries` largest entries of one-hot minus softmax over the vocabulary, with their places.",
        "The server's loss is not published: squared error over the whole vocabulary, position by position, what did "
        "not cross being 0.",
        "A token's probability is the backbone's plus s(A), at least a tenth of the backbone's, made to sum to one.",
        "To classify, the prompt and the label's words follow each training text, as one text; a class is as likely as "
        "its words. `labelled = false` trains on the texts alone.",
        "The side network's unknowns are those of pae.",
    )

    resumable: ClassVar[bool] = True
    selectors: ClassVar[frozenset[Selector]] = frozenset({LOSS})

    selector: Selector = LOSS
    entries: int = 64
    """Of a position's difference, that cross; all, in the vocabulary's order, where it is at least as large."""
    labelled: bool = True
    """Whether the prompt and the label's words follow each text."""
    precision: Precision = "fp32"
    batch: int = 16
    """Samples a message."""
    side: SideTraining = SideTraining(epochs=20, batch=4, learning_rate=1e-3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}; give one of them")
        for name, value in (("entries", self.entries), ("batch", self.batch)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    @property
    def most_resent(self) -> int:
        return LOSSES * self.side.epochs

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({ACTIVATIONS, DIFFERENCE, "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {
            "positions": "all",
            "fusion": "next token",
            "difference": "sparse probability",
            "resent": False,
            "layers": list(range(1, len(scene.backbone.blocks) + 1)),
            "bottom": "frozen",
            # what follows a text is text here: no prompt of known length ends a sequence
            "prompt": "",
            "question": self.prompt,
            "selector": "mean",  # of what crosses, for whoever wants one state of a text
            "completion": "label words" if self.labelled else "none",
        }

    def agreed(self, scene: Scene) -> Agreed:
        backbone, sizes = scene.backbone, self.sizes(scene)
        shape = SideShape(len(backbone.blocks), backbone.width, self.side.bottleneck, backbone.vocabulary)
        side = SideAgreed(shape, self.side, positions=sizes.positions, entries=sizes.entries)
        return Agreed(self.name, scene.server_streams.seed, side)

    @classmethod
    def hosted(cls, agreed: Agreed, backbone: Backbone | None) -> Hosted:
        side = agreed.side
        if side is None or side.private is not None or not side.positions or not side.entries:
            raise UsageError(f"{cls.name} needs a side network's sizes, positions and entries, and no privacy")
        shape = side.shape
        sizes = Sizes(side.positions, shape.layers, shape.width, side.entries, shape.outputs)
        return Hosted({SERVER: PAELMServer(shape, side.training, Streams(agreed.seed), sizes)})

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return self.hosted(self.agreed(scene), None).roles

    def sizes(self, scene: Scene) -> Sizes:
        """Of what crosses of a sample, at most."""
        backbone = scene.backbone
        labels = scene.labels if self.labelled else [None]
        behind = max(len(trained_tokens(backbone, "", self.longest, self.prompt, label)) for label in labels)
        positions = self.longest + behind - 1  # the last token has none behind it
        entries = min(self.entries, backbone.vocabulary)
        return Sizes(positions, len(backbone.blocks), backbone.width, entries, backbone.vocabulary)

    def device(self, scene: Scene, party: Party) -> Device:
        return PAELMDevice(party, self, scene, scene.samples[party])


class PAELMDevice(OnceDevice):
    """Runs the frozen backbone once a sample; downloads the side network, merges, predicts tokens and classes."""

    def __init__(self, party: Party, protocol: PAELM, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, samples, scene.server_streams.seed, protocol.side.epochs, protocol.batch)
        self.backbone = scene.backbone
        self._protocol, self._labels, self._sizes = protocol, scene.labels, protocol.sizes(scene)

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        ids, precision = tuple(row.id for row in rows), self._protocol.precision
        self.make(rows)
        for message in messages(ids, kept_rows(self._kept, ids), self.party, precision):
            wire.post(message)

    @property
    def told(self) -> str:
        return DIFFERENCE

    def make_together(self, rows: Sequence[Sample]) -> None:
        put_rows(self._kept, [row.id for row in rows], self._made(rows), self._protocol.precision, self._sizes)

    @torch.no_grad()
    def _made(self, rows: Sequence[Sample]) -> Positions:
        loss = loss_positions(self.backbone, self.backbone.pad([self._tokens(row) for row in rows]))
        sent = [
            sparse_difference(chances(self.backbone, states), targets, self._protocol.entries)
            for states, targets in zip(loss.states.split(512), loss.targets.split(512), strict=True)
        ]
        return Positions(loss.lengths, loss.states, Sparse(*map(torch.cat, zip(*sent, strict=True))))

    def _tokens(self, row: Sample) -> list[int]:
        protocol = self._protocol
        label = row.label if protocol.labelled else None
        return trained_tokens(self.backbone, row.text, protocol.longest, protocol.prompt, label)

    def predict(self, texts: list[str]) -> torch.Tensor:
        """Log-likelihoods (texts, classes) of the classes' words behind the texts."""
        longest, prompt = self._protocol.longest, self._protocol.prompt
        return class_likelihoods(self.backbone, self.side, texts, longest, prompt, self._labels)

    def quality(self, texts: Sequence[str]) -> Quality:
        """How well the tuned model predicts the tokens of texts."""
        return quality(self.backbone, partial(tuned_chances, self.backbone, self.side), texts, self._protocol.longest)


class PAELMServer(PAEServer):
    """A cache of all positions of every sample, trained on by samples."""

    def __init__(self, shape: SideShape, training: SideTraining, streams: Streams, sizes: Sizes) -> None:
        super().__init__(shape, training, streams)
        self._sizes = sizes

    def _keep(self, message: Message) -> None:
        self._require_announced(message.sample_ids)
        if message.kind == ACTIVATIONS:
            keep_activations(self._cache, message, self._sizes)
        else:
            keep_difference(self._cache, message, self._sizes)

    def _step_on(self, ids: list[str]) -> None:
        rows = kept_rows(self._cache, ids)

        def loss(_: None) -> torch.Tensor:
            return sparse_error(self._side, rows.activations, rows.sent)

        descend(self._optimizer, self._training, self._epoch, [None], loss)
