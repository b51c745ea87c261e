"""A model that was tuned elsewhere, as whoever receives it holds it: nothing is trained here, and nothing crosses.

A LoRA adapter made with peft stands for the tuned model. Which rows it was tuned on, only its maker knows: the data say
so (`member`), and no other row is taken for the victim's. The recipient holds the adapter's weights or, where it may
only ask, the answers to texts of its own.

Shapes: B texts, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from ..backbone import Backbone, load_backbone, local_folder
from ..errors import UsageError
from ..heads import verbaliser
from ..message import Party
from ..released import CONFIG, FUSIONS, LABEL, LANGUAGE, TENSORS, TEXT, AdaptedModel, Adapter, form_of, read_adapter
from ..roles import DEVICE, Device, Role
from ..wire import Wire
from .protocol import Protocol, Scene

RECIPIENT: Party = "recipient"
WEIGHTS, ANSWERS = "weights", "answers"


@dataclass(frozen=True)
class AdapterRecipe:
    """How the adapter was tuned, as far as the adversary knows it: its shadows are tuned so. AdamW, the rate falls
    along a line."""

    epochs: int = 3
    batch: int = 16
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")


@dataclass(frozen=True)
class Released(Protocol):
    """An adapter that was tuned elsewhere, released."""

    name: ClassVar[str] = "released"
    title: ClassVar[str] = "An adapter tuned elsewhere"
    source: ClassVar[str] = "LoRA: arXiv 2106.09685; adapters as peft stores them"
    trains: ClassVar[bool] = False

    adapter: str = ""
    """Folder that peft's `save_pretrained` wrote."""
    form: str = TEXT
    """A training row as one text: `{text}` and, for a language model that also saw labels, `{label}`."""
    classes: tuple[str, ...] = ()
    """The data's labels in the order of the head's outputs; by number or alphabet where none are given."""
    access: Literal["weights", "answers"] = "weights"
    """What the recipient has: the weights, or class scores of the texts that it asks about, its auxiliary ones."""
    recipe: AdapterRecipe = AdapterRecipe()
    same_base: bool = False
    """Says that the backbone is the one that the adapter was tuned on, whatever name that had there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.access not in (WEIGHTS, ANSWERS):
            raise UsageError(f"access {self.access!r} is neither weights nor answers; give one of them")
        if self.form.count(TEXT) != 1 or self.form.count(LABEL) > 1 or TEXT in self.form.partition(LABEL)[2]:
            raise UsageError(f"form is {self.form!r}; give one {TEXT}, and at most one {LABEL} behind it")
        if len(set(self.classes)) < len(self.classes):
            raise UsageError("classes of released names one class twice; give each once, in the order of the outputs")

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {RECIPIENT: frozenset({"held:tuned" if self.access == WEIGHTS else "held:answers"})}

    @property
    def trains_on_device(self) -> bool:
        return True

    @property
    def digests(self) -> tuple[str, ...]:
        assert self.stored  # refuses a folder that holds none
        read = [(Path(self.adapter) / name).read_bytes() for name in (CONFIG, TENSORS)]
        return (hashlib.sha256(b"\0".join(read)).hexdigest()[:16],)

    @property
    def shown(self) -> dict[str, Any]:
        """Without names of classes and without a form of one's own, which are private."""
        told = {"adapter": Path(self.adapter).name, "classes": len(self.classes)}
        return {**self.settings(), **told, "form": self.form if self.form == TEXT else "own"}

    @property
    def utility(self) -> str:
        """A language model that saw no labels is asked which class's words are likeliest behind a text."""
        unlabelled = self.stored.config["task_type"] == LANGUAGE and LABEL not in self.form
        return "zero-shot accuracy" if unlabelled else super().utility

    def require(self, backbone: Backbone) -> None:
        super().require(backbone)
        stored = self.stored
        if stored.config["task_type"] != LANGUAGE and LABEL in self.form:
            raise UsageError(f"form is {self.form!r} and the adapter is a classifier; leave {LABEL} away")
        if stored.config["task_type"] == LANGUAGE and not backbone.causal:
            raise UsageError(
                f"the adapter is a language model's and {backbone.name} is an encoder; give its own backbone"
            )
        if not self.same_base and not _same(stored.base, backbone):
            raise UsageError(
                f"the adapter says that it was tuned on {Path(stored.base).name} and the backbone is {backbone.name}; "
                "give that one, or same_base = true where it goes by another name here"
            )

    def require_scene(self, scene: Scene) -> None:
        super().require_scene(scene)
        self.model(scene)  # which refuses an adapter that does not fit

    @cached_property
    def stored(self) -> Adapter:
        """What the folder holds."""
        if not self.adapter:
            raise UsageError("released needs the adapter that is audited; give adapter = FOLDER, as peft saved it")
        return read_adapter(Path(self.adapter))

    def model(self, scene: Scene) -> AdaptedModel:
        """The backbone with the adapter."""
        facts = {**self.settings(), "adapter_config": self.stored.config}
        form = form_of(facts, scene.labels)
        if missing := sorted(set(scene.labels) - set(form.classes)):
            raise UsageError(
                f"classes of released lacks {missing[0]!r}, a label of the data; name every output's class"
            )
        made = AdaptedModel(scene.backbone, self.stored.config, form)
        made.load(self.stored.tensors)
        return made

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {
            "adapter": Path(self.adapter).name,
            "adapter_config": dict(self.stored.config),
            "classes": list(self.classes),
            "fusion": FUSIONS[self.stored.config["task_type"]],
            "difference_key": "none",
            "layers": list(range(1, len(scene.backbone.blocks) + 1)),
        }

    def public_head(self, scene: Scene) -> torch.Tensor | None:
        return verbaliser(scene.backbone, scene.labels)

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return {RECIPIENT: Recipient(self, scene)}

    def device(self, scene: Scene, party: Party) -> Device:
        return Maker(party, self, scene)


class Maker(Device):
    """Who tuned the adapter: has the whole model, and nothing left to do."""

    def __init__(self, party: Party, protocol: Released, scene: Scene) -> None:
        self.party, self._model = party, protocol.model(scene)
        self._columns = [self._model.form.classes.index(label) for label in scene.labels]

    def work(self, wire: Wire) -> Iterator[None]:
        yield from ()

    def predict(self, texts: list[str]) -> torch.Tensor:
        return self._model.scores(texts)[:, self._columns]


class Recipient(Role):
    """Who receives the release, or may ask it."""

    party = RECIPIENT

    def __init__(self, protocol: Released, scene: Scene) -> None:
        self._held: Mapping[str, Mapping[str, torch.Tensor]]
        if protocol.access == WEIGHTS:
            self._held = {"tuned": {name: tensor.clone() for name, tensor in protocol.stored.tensors.items()}}
        else:
            self._held = {"answers": {"scores": Maker(DEVICE, protocol, scene).predict(list(scene.questions))}}

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return self._held


def _same(base: str, backbone: Backbone) -> bool:
    """Whether a model that an adapter names is the backbone: by its weights where it is here, else by its name."""
    place = str(backbone.model.name_or_path)
    if not base or base in (place, backbone.name):
        return True
    path = Path(base).expanduser()
    if (path / "config.json").is_file():
        here = local_folder(place)
        return path.resolve() == here or load_backbone(str(path)).digest == backbone.digest
    return path.name == Path(place).name or path.name == backbone.name
