"""A tuned model that was exported predicts what the device did, wherever it is, and says which secrets it holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.audits.suites.suite_file import load_suite
from sidelight.system.building import Recipe, build_protocol
from sidelight.system.errors import UsageError
from sidelight.system.folder import read_tensors
from sidelight.system.protocols import interleave
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.protocols.tuned import Tuned
from sidelight.system.tuning.account import Costs
from sidelight.system.tuning.card import card
from sidelight.system.tuning.export import export, load_tuned
from sidelight.system.tuning.order import Order, Prepared, prepared
from sidelight.system.tuning.outcome import Outcome, Share
from sidelight.system.tuning.predict import predictions
from sidelight.system.weights import WEIGHTS, Weights
from sidelight.system.wire import Wire

from ...contracts.micro import QUERIES, Micro
from .small import SEED, SIDE, order, rows_csv

TEXTS = [query.text for query in QUERIES]
SHORT = {"side": {**SIDE, "epochs": 1}}
LOGIT = {**SHORT, "difference": "logit"}
RECIPES = {
    "plain": Recipe("pae", SHORT, {}),
    "logit, last": Recipe("pae", {**LOGIT, "selector": "last", "prompt": ""}, {}),
    "linear head": Recipe("pae", {**SHORT, "head": "linear"}, {}),
    "rotate": Recipe("pae", SHORT, {"rotate": {}}),
    "scale, permute": Recipe("pae", LOGIT, {"scale": {}, "permute": {}}),
    "secret-head": Recipe("pae", LOGIT, {"secret-head": {}}),
    "code": Recipe("pae", LOGIT, {"code": {"width": 9}}),
    "code, no share": Recipe("pae", LOGIT, {"code": {"width": 9, "share": False}}),
    "rotate-activations, layers": Recipe("pae", SHORT, {"layers": {"count": 2}, "rotate-activations": {}}),
    "project": Recipe("pae", SHORT, {"project": {"width": 8}}),
    "decoy": Recipe("pae", SHORT, {"decoy": {}}),
    "noises": Recipe("pae", SHORT, {"noise": {}, "activation-noise": {"clip": 0.5}, "label-dp": {}}),
    "round-backbone": Recipe("pae", SHORT, {"round-backbone": {"bits": 3}}),
    "pae-hardened": Recipe("pae-hardened", SHORT, {}),
}
SECRET = {  # which keys an export must own up to
    "rotate": ["the matrix by which differences were multiplied"],
    "scale, permute": ["the matrix by which differences were multiplied"],
    "secret-head": ["the head behind the backbone's share of a difference"],
    "code": ["the head behind the backbone's share of a difference", "the mean codeword of each class"],
    "code, no share": ["the mean codeword of each class"],
    "rotate-activations, layers": ["the matrices by which activations were multiplied"],
    "project": ["the matrices by which activations were multiplied"],
    "decoy": ["the head behind the backbone's share of a difference"],
    "pae-hardened": [
        "the head behind the backbone's share of a difference",
        "the matrix by which differences were multiplied",
    ],
}


@dataclass(frozen=True)
class Made:
    """A device after its work, and its model's folder."""

    order: Order
    ready: Prepared
    device: PAEDevice
    model: Path

    @property
    def tuned(self) -> Tuned:
        return self.device.tuned


def made(folder: Path, micro: Micro, recipe: Recipe, **given: Any) -> Made:
    rows_csv(folder)
    asked = order(folder, micro, recipe, **given)
    ready = prepared(asked, SEED)
    device = ready.protocol.device(ready.scene, ready.party)
    assert isinstance(device, PAEDevice)
    interleave([device], Wire(ready.protocol.servers(ready.scene), lambda message: None))
    share = Share(0.5, 0.25, 0.75, 12)
    text = card(ready, device.tuned, Outcome(share, None, 0.2), Costs(releases=1), None)
    export(folder / "model", device.tuned, ready, asked.backbone, text)
    return Made(asked, ready, device, folder / "model")


class Models:
    """Models made when first asked for; tests only read them."""

    def __init__(self, root: Path, micro: Micro) -> None:
        self._root, self._micro = root, micro
        self._made: dict[str, Made] = {}

    def of(self, name: str) -> Made:
        if name not in self._made:
            folder = self._root / str(len(self._made))
            folder.mkdir()
            self._made[name] = made(folder, self._micro, RECIPES[name])
        return self._made[name]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, micro: Micro) -> Models:
    return Models(tmp_path_factory.mktemp("models"), micro)


@pytest.mark.parametrize("name", RECIPES)
def test_what_was_exported_predicts_exactly_what_the_device_does(tmp_path: Path, models: Models, name: str) -> None:
    here, elsewhere = models.of(name), tmp_path / "elsewhere"
    shutil.copytree(here.model, elsewhere)
    loaded = load_tuned(elsewhere)
    found = loaded.tuned.predict(TEXTS)
    assert torch.equal(found, here.device.predict(TEXTS))
    assert float(found.std(0).min()) > 0  # it does say something of each text
    assert loaded.labels == here.ready.scene.labels


@pytest.mark.parametrize("name", RECIPES)
def test_the_card_names_the_keys_in_the_export_and_no_others(models: Models, name: str) -> None:
    text = (models.of(name).model / "README.md").read_text("utf-8")
    held = text.partition("holds them: ")[2].partition(".")[0]
    assert (held.split("; ") if held else []) == SECRET.get(name, [])
    assert ("No key stands in this folder" in text) == (name not in SECRET)


@pytest.mark.parametrize("name", RECIPES)
def test_the_export_holds_what_prediction_needs_and_no_other_key(models: Models, name: str) -> None:
    here = models.of(name)
    stored = read_tensors(here.model / "model.safetensors")
    keys = {name for name in stored if not name.startswith("side.")}
    assert keys <= {"head", "transform", "means", "maps"}
    book = here.device.guard.targets.book
    if book.shape[1] > 1:  # several codewords a class: only their mean is there
        words = book.flatten(0, 1)
        assert min(float((words - row).norm(dim=1).min()) for row in stored["means"]) > 0.1
    everything = b"".join(path.read_bytes() for path in here.model.iterdir())
    private = [SEED, here.ready.scene.streams.seed, *(text for s in here.ready.samples for text in (s.id, s.text))]
    assert [one for one in private if one.encode() in everything] == []


@pytest.mark.parametrize("weights", WEIGHTS)
def test_an_export_is_loaded_beside_weights_as_the_device_had_them(
    tmp_path: Path, micro: Micro, weights: Weights
) -> None:
    here = made(tmp_path, micro, RECIPES["plain"], weights=weights)
    loaded = load_tuned(here.model)
    assert loaded.tuned.backbone.weights == weights
    assert torch.equal(loaded.tuned.predict(TEXTS), here.device.predict(TEXTS))


def test_predictions_name_the_class_of_the_largest_score(models: Models) -> None:
    here = models.of("rotate")
    expected = here.device.predict(TEXTS)
    for found, scores in zip(predictions(here.model, TEXTS), expected, strict=True):
        assert found["label"] == here.ready.scene.labels[int(scores.argmax())]
        assert list(found["scores"].values()) == scores.tolist()
        assert list(found["scores"]) == list(here.ready.scene.labels)
        json.dumps(found)


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.fixture
def plain(models: Models) -> Path:
    return models.of("plain").model


def changed(model: Path, to: Path, **values: Any) -> Path:
    shutil.copytree(model, to)
    config = json.loads((to / "config.json").read_text("utf-8"))
    (to / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")
    return to


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no exported model; give a folder in which `sidelight tune`"):
        load_tuned(tmp_path)


def test_another_backbone_is_refused_and_the_same_one_elsewhere_is_taken(
    plain: Path, micro: Micro, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="give that one as --backbone"):
        load_tuned(plain, str(micro.folders["llama"]))
    moved = tmp_path / "moved"
    shutil.copytree(micro.folders["opt"], moved)
    assert torch.equal(load_tuned(plain, str(moved)).tuned.predict(TEXTS), load_tuned(plain).tuned.predict(TEXTS))


def test_damaged_weights_are_refused(plain: Path, tmp_path: Path) -> None:
    copy = changed(plain, tmp_path / "copy")
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    with pytest.raises(UsageError, match="is damaged, or its parts are of two models"):
        load_tuned(copy)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": 2}, "has the format 2, not 1"),
        ({"layers": [1, 2]}, "is damaged"),
        ({"labels": ["one"]}, "is damaged"),
        ({"defences": [["rotate", {}]]}, "is damaged"),
        ({"settings": {"selector": "last"}}, "is damaged"),
        ({"digest": None}, "is damaged"),
    ],
)
def test_a_config_that_is_not_the_weights_own_is_refused(
    plain: Path, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_tuned(changed(plain, tmp_path / "copy", **values))


@pytest.mark.parametrize("name", RECIPES)
def test_the_suite_in_the_card_audits_the_same_protocol(tmp_path: Path, models: Models, name: str) -> None:
    here = models.of(name)
    card = (here.model / "README.md").read_text("utf-8")
    suite = tmp_path / "suite.toml"
    suite.write_text(card.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    (run,) = load_suite(str(suite)).runs
    assert build_protocol(run.protocol, run.settings, run.defences) == here.ready.protocol
