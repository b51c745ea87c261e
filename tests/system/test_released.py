"""An adapter's folder is read without unpickling anything, and a wrong one is refused in one sentence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from sidelight.system.backbone import TINY, load_backbone
from sidelight.system.data import Sizes, load, split
from sidelight.system.errors import UsageError
from sidelight.system.protocols import Scene
from sidelight.system.protocols.released import Released
from sidelight.system.randomness import Streams
from sidelight.system.released import in_order, read_adapter

from ..contracts.conftest import micro
from ..contracts.elsewhere import FORM, adapter, base
from ..contracts.micro import LABELS, Micro

__all__ = ["micro"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a classifier's adapter, to be spoiled."""
    return Path(shutil.copytree(adapter("SEQ_CLS"), tmp_path / "adapter"))


def configured(folder: Path, **entries: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}), encoding="utf-8")


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({}, folder / "adapter_model.bin")


def broken(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{not json")


def endless(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    name = sorted(tensors)[0]
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, folder / "adapter_model.safetensors")


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "adapter_config.json").unlink(), "holds no adapter_config.json"),
    (lambda folder: (folder / "adapter_config.json").write_text("[1"), "is no JSON object"),
    (pickled, "adapter_model.bin, a pickle, which can run code"),
    (lambda folder: (folder / "adapter_model.safetensors").unlink(), "holds no adapter_model.safetensors"),
    (broken, "is no file of safetensors, or is cut short"),
    (endless, "no finite number"),
    (lambda folder: configured(folder, peft_type="IA3"), "an adapter of type IA3; LORA is taken"),
    (lambda folder: configured(folder, task_type="SEQ_2_SEQ_LM"), "SEQ_CLS are taken"),
    (lambda folder: configured(folder, init_lora_weights="pissa"), "changes the backbone itself"),
    (lambda folder: configured(folder, layer_replication=[[0, 1]]), "layer_replication of .* is not known here"),
    (lambda folder: configured(folder, a_later_entry=3), "a_later_entry of .* is not known here"),
    (lambda folder: configured(folder, target_modules="(a+)+b"), "no plain name; list the modules"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_a_folder_that_is_no_plain_adapter_is_refused(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    with pytest.raises(UsageError, match=said) as refusal:
        read_adapter(folder)
    assert "\n" not in str(refusal.value)


def scene(micro: Micro, family: str = "opt", labels: tuple[str, ...] = LABELS) -> Scene:
    return Scene(micro.backbone(family), labels, {}, Streams("a secret seed"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "released needs the adapter"),
        ({"adapter": "nowhere"}, "nowhere holds no adapter_config.json"),
    ],
)
def test_an_adapter_must_be_given(micro: Micro, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Released(**settings).require_scene(scene(micro))


def test_the_backbone_of_another_adapter_is_refused(micro: Micro, folder: Path) -> None:
    with pytest.raises(UsageError, match="was tuned on opt and the backbone is llama"):
        Released(adapter=str(folder)).require_scene(scene(micro, "llama"))
    with pytest.raises(UsageError, match=r"does not fit|give the backbone that the adapter was tuned on"):
        Released(adapter=str(folder), same_base=True).require_scene(scene(micro, "llama"))
    with pytest.raises(UsageError, match="was tuned on opt and the backbone is sidelight-tiny"):
        Released(adapter=str(folder)).require(load_backbone(TINY))


def test_the_backbone_may_lie_elsewhere_by_the_same_name_or_with_the_same_weights(micro: Micro, folder: Path) -> None:
    asked = Released(adapter=str(folder))
    asked.require_scene(scene(micro))  # tuned on the same weights in another folder
    configured(folder, base_model_name_or_path="somebody/opt")
    Released(adapter=str(folder)).require_scene(scene(micro))
    configured(folder, base_model_name_or_path="somebody/other")
    with pytest.raises(UsageError, match="tuned on other and the backbone is opt"):
        Released(adapter=str(folder)).require_scene(scene(micro))
    Released(adapter=str(folder), same_base=True).require_scene(scene(micro))


def test_classes_that_the_head_does_not_have_are_refused(micro: Micro, folder: Path) -> None:
    with pytest.raises(UsageError, match="by 5 classes; name as many as the adapter's head has outputs"):
        Released(adapter=str(folder)).require_scene(scene(micro, labels=LABELS[:5]))
    Released(adapter=str(folder), classes=LABELS).require_scene(scene(micro, labels=LABELS[:5]))
    with pytest.raises(UsageError, match=f"classes of released lacks {LABELS[0]!r}"):
        Released(adapter=str(folder), classes=(*LABELS[1:], "other")).require_scene(scene(micro))


def test_another_rank_than_the_weights_have_is_called_a_rank(micro: Micro, folder: Path) -> None:
    configured(folder, r=3)
    with pytest.raises(UsageError, match=r"by the rank in adapter_config\.json; give the configuration"):
        Released(adapter=str(folder)).require_scene(scene(micro))


@pytest.mark.parametrize(
    ("task", "form", "called"),
    [
        ("SEQ_CLS", "{text}", "accuracy"),
        ("CAUSAL_LM", FORM, "accuracy"),
        ("CAUSAL_LM", "{text}", "zero-shot accuracy"),
    ],
)
def test_what_a_model_without_labels_answers_is_not_called_accuracy(task: str, form: str, called: str) -> None:
    assert Released(adapter=str(adapter(task)), form=form).utility == called


def test_the_order_of_classes_moves_the_outputs(micro: Micro, folder: Path) -> None:
    told = Released(adapter=str(folder), classes=LABELS[::-1])
    plain, turned = (one.roles(replaced(micro))["device-0"] for one in (Released(adapter=str(folder)), told))
    assert torch.equal(plain.predict(["violin"]), turned.predict(["violin"]).flip(1))  # type: ignore[attr-defined]
    assert in_order(["10", "9", "1"]) == ("1", "9", "10")
    assert in_order(["b", "10", "a"]) == ("10", "a", "b")


def replaced(micro: Micro) -> Scene:
    return Scene(micro.backbone("opt"), LABELS, {"device-0": ()}, Streams("a secret seed"))


@pytest.mark.parametrize("form", ["", "{label}", "{text}{text}", "{label} {text}", "{text} {label} {label}"])
def test_a_form_without_a_text_before_a_label_is_refused(form: str) -> None:
    with pytest.raises(UsageError, match=r"give one {text}, and at most one {label} behind it"):
        Released(form=form)


def test_a_classifier_reads_no_label(micro: Micro, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"the adapter is a classifier; leave {label} away"):
        Released(adapter=str(folder), form=FORM).require(micro.backbone("opt"))


def test_results_name_the_adapter_and_not_where_it_lies(micro: Micro, folder: Path) -> None:
    asked = Released(adapter=str(folder))
    shown = json.dumps([asked.shown, asked.public_facts(scene(micro))])
    assert str(folder.parent) not in shown
    assert str(base("opt")) not in shown
    before = asked.digests
    endless(folder)
    assert asked.digests != before


# --- whose rows they were ---------------------------------------------------------------------------------------------


def rows_file(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def told(count: int) -> list[dict[str, object]]:
    """Different texts, the first quarter members, of two classes."""
    words = ["".join(random.Random(at).choices("abcdefghijklmnop ", k=24)) for at in range(count)]
    return [{"text": text, "label": "ab"[at % 2], "member": at < count // 4} for at, text in enumerate(words)]


def test_members_alone_are_the_victims_and_their_likes_are_nobodys(tmp_path: Path) -> None:
    rows = told(400)
    copied = {**rows[0], "text": str(rows[0]["text"]).upper(), "member": False}
    data = load(str(rows_file(tmp_path / "rows.jsonl", [*rows, copied])), numpy.random.default_rng(0))
    parts = split(data, Sizes(300, 60, 60, 100), numpy.random.default_rng(1))
    members = {row["text"] for row in rows if row["member"]}
    assert {row.text for row in parts.victim_train} == members - {rows[0]["text"]}
    others = [row.text for part in (parts.victim_test, parts.auxiliary, parts.non_member) for row in part]
    assert not members & {*others, str(copied["text"])} - {rows[0]["text"]}
    assert copied["text"] not in others
    assert [len(part) for part in (parts.victim_test, parts.auxiliary, parts.non_member)] == [60, 60, 100]
    assert "1 members and 1 others are near-duplicates of one another and were left out." in data.notices


def test_rows_of_a_csv_say_it_in_words_or_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"{row['text']},{row['label']},{['TRUE', '1', 'false', '0'][at % 4]}" for at, row in enumerate(told(80))]
    path.write_text("\n".join(["text,label,member", *lines]), encoding="utf-8")
    data = load(str(path), numpy.random.default_rng(0))
    assert [row.pool for row in data.rows[:4]] == ["member", "member", "other", "other"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda rows: [{**rows[0], "member": "maybe"}, *rows[1:]],
            "row 1: member is 'maybe'; it must be true or",
        ),
        (lambda rows: [{**rows[0], "member": 2}, *rows[1:]], "member is 2"),
        (lambda rows: [{**rows[0], "member": None}, *rows[1:]], "39 of 40 rows have 'member'"),
        (lambda rows: [{**row, "member": True} for row in rows], "'member' is the same for all rows"),
    ],
)
def test_rows_that_do_not_say_it_are_refused(
    tmp_path: Path, spoil: Callable[[list[dict[str, object]]], list[dict[str, object]]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load(str(rows_file(tmp_path / "rows.jsonl", spoil(told(40)))), numpy.random.default_rng(0))
