"""A tuned model as a folder that stands alone: weights, keys that prediction needs, and how to load it.

    model.safetensors   the side network (`side.`), and of the device's keys what prediction needs: the head behind the
                        backbone's share, the matrix before differences, classes' mean codewords, maps of activations
    config.json         protocol, settings and defences, backbone by reference and digest, classes, layers
    README.md           the model card

The backbone is not in it. Seeds, single codewords, texts and rows' labels are not either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import files, folder
from ..backbone import load_backbone, local_folder
from ..building import build_protocol
from ..defences.reading import Reading, Tapping
from ..errors import UsageError
from ..protocols.pae import PAE
from ..protocols.pae_device import body
from ..protocols.tuned import Pivots, Tuned
from ..side_network import from_state
from .order import Prepared

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
SIDE = "side."
KEYS = ("head", "transform", "means")


@dataclass(frozen=True)
class Loaded:
    """A tuned model with the names of its classes."""

    tuned: Tuned
    labels: tuple[str, ...]


def export(at: Path, tuned: Tuned, ready: Prepared, reference: str, card: str) -> None:
    """Write a model's folder, whole or not at all; `reference` is where its backbone is found."""
    with files.whole(at) as partial:
        folder.write_tensors(partial / WEIGHTS, tensors(tuned))
        config = _config(tuned, ready, reference)
        files.write_json(partial / CONFIG, {**config, "digest": _digest(config, partial / WEIGHTS)})
        files.write_text(partial / CARD, card)


def tensors(tuned: Tuned) -> dict[str, torch.Tensor]:
    """Weights and keys by name."""
    found = {SIDE + name: tensor for name, tensor in tuned.side.state_dict().items()}
    keys = {name: getattr(tuned.reading, name) for name in KEYS} | {"maps": tuned.tapping.maps}
    # safetensors takes no tensor that shares memory with another
    return found | {name: tensor.clone() for name, tensor in keys.items() if tensor is not None}


def _config(tuned: Tuned, ready: Prepared, reference: str) -> dict[str, Any]:
    at, backbone, identity = local_folder(reference), ready.scene.backbone, ready.identity
    return {
        "format": FORMAT,
        "protocol": identity["protocol"],
        "settings": identity["settings"],
        "defences": identity["defences"],
        "backbone": {
            "reference": reference if at is None or backbone.name == reference else str(at),
            "weights": backbone.weights,
            "digest": identity["backbone"],
        },
        "labels": list(ready.scene.labels),
        "layers": list(tuned.tapping.layers),
    }


def load_tuned(at: Path, backbone: str | None = None) -> Loaded:
    """A tuned model from its folder, or from the folder of a tuning that holds one.

    `backbone`: where the backbone is found, if not where it was. Raises UsageError where the folder is none or damaged,
    or the backbone is another one.
    """
    if not (at / CONFIG).is_file() and (at / "model" / CONFIG).is_file():
        at = at / "model"
    if not (at / CONFIG).is_file() or not (at / WEIGHTS).is_file():
        raise UsageError(
            f"{at} holds no exported model; give a folder in which `sidelight tune` has finished with pae, or its model"
        )
    config = files.read_json(at / CONFIG)
    if config.get("format") != FORMAT:
        raise UsageError(f"the model in {at} has the format {config.get('format')}, not {FORMAT}; export it again")
    digest = config.pop("digest", None)
    if _digest(config, at / WEIGHTS) != digest:
        raise UsageError(f"the model in {at} is damaged, or its parts are of two models; copy the whole folder again")
    return Loaded(_tuned(at, config, backbone), tuple(config["labels"]))


def _tuned(at: Path, config: Mapping[str, Any], reference: str | None) -> Tuned:
    protocol = build_protocol(config["protocol"], config["settings"], dict(config["defences"]))
    assert isinstance(protocol, PAE)
    told = config["backbone"]
    backbone = load_backbone(reference or told["reference"], told["weights"])
    if backbone.digest != (wanted := told["digest"]):
        raise UsageError(
            f"the backbone {backbone.name} has the digest {backbone.digest} and the model in {at} was tuned beside "
            f"{wanted}; give that one as --backbone"
        )
    found = folder.read_tensors(at / WEIGHTS)
    side = from_state({name.removeprefix(SIDE): t for name, t in found.items() if name.startswith(SIDE)})
    head, transform, means = (found.get(name) for name in KEYS)
    return Tuned(
        body(protocol.defences, backbone),
        Pivots(protocol.longest, protocol.prompt, protocol.selector),
        Tapping(tuple(config["layers"]), protocol.defences, found.get("maps")),
        Reading(protocol.difference, len(config["labels"]), len(side.bias), head, transform, means),
        side,
    )


def _digest(config: Mapping[str, Any], weights: Path) -> str:
    """SHA-256 over a config and the weights beside it: neither is of use without the other."""
    state = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    state.update(weights.read_bytes())
    return state.hexdigest()
