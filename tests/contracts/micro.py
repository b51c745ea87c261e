"""Backbones of a few thousand random weights, data that they can learn, and runs recorded in memory."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.data import Sample
from sidelight.system.message import Message, Party
from sidelight.system.protocols import Protocol, Scene, interleave
from sidelight.system.public import Example, Public, Query
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, SERVER, Device, Role
from sidelight.system.view import View
from sidelight.system.wire import Traffic, Wire

KEYWORDS = {
    "music": "violin",
    "weather": "thunder",
    "kitchen": "saucepan",
    "garden": "tulip",
    "travel": "suitcase",
    "money": "invoice",
}
"""A class's label and the word that every text of it opens with."""
FILLERS = "again before quietly near under seven small bright old today maybe without".split()
LABELS = tuple(sorted(KEYWORDS))
SPECIAL = ["<s>", "<pad>", "</s>"]
WIDTH = 32
SPREAD = 0.2
"""Standard deviation of the random weights: large enough for the last token to carry the first."""


def texts(a_class: int, seed: int) -> list[tuple[str, str]]:
    """Distinct labelled texts, `a_class` of each class in turn, of two to four words."""
    generator = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < a_class * len(LABELS):
        label = LABELS[len(found) % len(LABELS)]
        words = [KEYWORDS[label], *generator.choices(FILLERS, k=generator.randint(1, 3))]
        found.setdefault(" ".join(words), label)
    return list(found.items())


def samples(a_class: int, seed: int) -> tuple[Sample, ...]:
    """Labelled texts with ids that say nothing."""
    named = texts(a_class, seed)
    ids = [hashlib.sha256(f"{seed} {i}".encode()).hexdigest()[:16] for i in range(len(named))]
    return tuple(Sample(i, text, label, ()) for i, (text, label) in zip(ids, named, strict=True))


VICTIM = samples(8, seed=1)
AUXILIARY = samples(8, seed=2)
QUERIES = samples(8, seed=3)


@dataclass(frozen=True)
class Micro:
    """Folders of the two backbones, as transformers' save_pretrained wrote them."""

    folders: Mapping[str, Path]
    """`opt` opens every text with a special token, `llama` does not."""

    def backbone(self, family: str) -> Backbone:
        """A freshly loaded backbone."""
        return load_backbone(str(self.folders[family]))


def make_micro(root: Path) -> Micro:
    """Both backbones under a folder, the same for every call."""
    folders = {"opt": root / "opt", "llama": root / "llama"}
    torch.manual_seed(7)
    for family, folder in folders.items():
        tokenizer = make_tokenizer(opening=family == "opt")
        _model(family, len(tokenizer)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return Micro(folders)


def make_tokenizer(opening: bool, closing: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of the texts here, with a special token before every text and behind it, where they are wanted."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    made.train_from_iterator([text for text, _ in texts(20, seed=0)], trainer)
    if opening or closing:
        single = f"{'<s> ' * opening}$A{' </s>' * closing}"
        made.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 0), ("</s>", 2)])
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    named = {**special, "mask_token": "<mask>"} if closing else special
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False, **named)


def _model(family: str, vocabulary: int) -> OPTForCausalLM | LlamaForCausalLM:
    special: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    if family == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=WIDTH,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=64,
                initializer_range=SPREAD,
                **special,
            )
        )
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            word_embed_proj_dim=WIDTH,
            ffn_dim=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=64,
            init_std=SPREAD,
            **special,
        )
    )


@dataclass(frozen=True)
class Run:
    """One recorded run: what crossed, and the parties at its end."""

    protocol: Protocol
    scene: Scene
    roles: Mapping[Party, Role]
    messages: list[Message]
    traffic: Traffic

    @property
    def device(self) -> Device:
        device = self.roles[DEVICE]
        assert isinstance(device, Device)
        return device

    def view(self, *parties: Party) -> View:
        """What parties saw; the server where none is named."""
        kept = frozenset(parties or (SERVER,))
        messages = [m for m in self.messages if m.sender in kept or m.receiver in kept]
        held = {name: item for party in kept for name, item in self.roles[party].held().items()}
        return View(kept, messages, held, {"protocol": self.protocol.name})

    def public(self, folder: Path) -> Public:
        """What anybody knows of the run, with auxiliary rows and queries."""
        head = self.protocol.public_head(self.scene)
        return Public(
            facts=self.protocol.public_facts(self.scene),
            labels=self.scene.labels,
            backbone=str(folder),
            head=None if head is None else {"weight": head},
            keys=self.protocol.keys(self.scene) or None,
            auxiliary=tuple(Example(s.text, s.label) for s in AUXILIARY),
            queries=tuple(Query(s.id, s.text) for s in QUERIES),
        )

    def labels(self) -> dict[str, int]:
        """The truth about the victims' labels."""
        return {s.id: LABELS.index(s.label) for s in VICTIM}

    def tokens(self) -> dict[str, tuple[int, ...]]:
        """The truth about the victims' texts, as far as the protocol uses them."""
        backbone, longest = self.scene.backbone, self.protocol.longest
        return {s.id: tuple(backbone.token_ids(s.text, longest)) for s in VICTIM}


def make_scene(backbone: Backbone, seed: str = "the secret seed", protocol: Protocol | None = None) -> Scene:
    """All victim rows on one device, or on those that a protocol has."""
    streams = Streams(seed)
    return Scene(backbone, LABELS, protocol.parties(VICTIM, streams) if protocol else {DEVICE: VICTIM}, streams)


def record(protocol: Protocol, scene: Scene, roles: Mapping[Party, Role] | None = None) -> Run:
    """Run a protocol, or some roles in place of its own, and keep every message as its receiver decoded it."""
    roles = roles or protocol.roles(scene)
    messages: list[Message] = []
    wire = Wire(roles, messages.append)
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    return Run(protocol, scene, roles, messages, wire.traffic)
