"""Tunings that are refused: in one sentence, and with everything left as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.system.errors import UsageError
from sidelight.system.tuning.home import Home
from sidelight.system.tuning.order import Order

from ...contracts.micro import Micro
from .small import (
    SIDE,
    Break,
    Host,
    begun,
    carried_out,
    everything,
    rows_csv,
)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 5, "settings": {"batch": 10}}, "settings.side.bottleneck = 16"),
        (
            {"settings": {"side": {**SIDE, "epochs": 4}, "batch": 10}},
            "settings.side.epochs = 3 and is asked to go on",
        ),
        ({"defences": {"rotate": {}}}, "defences"),
        ({"test_share": 0.3}, "test share = 0.2"),
        ({"name": "device-1"}, 'name = "device-0"'),
        ({"weights": "int8"}, 'weights = "fp32" and is asked to go on with "int8"'),
    ],
)
def test_a_tuning_goes_on_only_as_it_was_begun(asked: Order, changes: dict[str, Any], named: str) -> None:
    host = Host(breaks=[Break("train", 1, True)])
    assert not carried_out(asked, host)
    before = everything(asked.out)
    with pytest.raises(UsageError) as refused:
        carried_out(replace(asked, **changes), host)
    assert named in str(refused.value)
    assert str(refused.value).endswith("; give the same, or another --out")
    assert everything(asked.out) == before
    assert carried_out(asked, host)


def test_a_tuning_does_not_go_on_with_its_defences_in_another_order(asked: Order) -> None:
    first: dict[str, dict[str, Any]] = {"scale": {}, "rotate": {}}
    second = dict(reversed(first.items()))
    assert not carried_out(replace(asked, defences=first), Host(breaks=[Break("train", 1, True)]))
    with pytest.raises(UsageError, match="was begun with defences = "):
        carried_out(replace(asked, defences=second), Host())


def test_other_data_and_another_backbone_are_refused(tmp_path: Path, micro: Micro, asked: Order) -> None:
    assert not carried_out(asked, Host(breaks=[Break("train", 1, True)]))
    with pytest.raises(UsageError, match="was begun with backbone = "):
        carried_out(replace(asked, backbone=str(micro.folders["llama"])), Host())
    rows_csv(tmp_path, a_class=13)
    with pytest.raises(UsageError, match="was begun with data = "):
        carried_out(asked, Host())


def test_a_device_whose_kept_rows_are_gone_is_refused(asked: Order) -> None:
    assert not carried_out(asked, Host(breaks=[Break("train", 1, True)]))
    (asked.out / "device" / "kept").rename(asked.out / "elsewhere")
    with pytest.raises(UsageError, match="noise on samples that were sent would be drawn anew"):
        carried_out(asked, Host())


def test_two_tunings_do_not_share_a_folder(asked: Order) -> None:
    begun(asked)
    with Home(asked.out).held(), pytest.raises(UsageError, match="a tuning runs in"):
        carried_out(asked, Host())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "absent.csv"}, "absent.csv"),
        ({"data": "one.csv"}, "at least 2 labels are needed"),
        ({"backbone": "./nowhere"}, "the backbone folder ./nowhere does not exist"),
        ({"protocol": "pea"}, "did you mean 'pae'"),
        ({"settings": {"selectr": "mean"}}, "did you mean 'selector'"),
        ({"epochs": 3}, "side.epochs and --epochs are both given"),
        ({"findings": Path("nothing")}, "nothing is no finished audit"),
    ],
)
def test_wrong_input_leaves_nothing(
    asked: Order, changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("text,label\n" + "".join(f"word {n},same\n" for n in range(30)), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as refused:
        carried_out(replace(asked, **changes), Host())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_and_a_file_are_refused(asked: Order) -> None:
    asked.out.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        carried_out(asked, Host())
    asked.out.unlink()
    asked.out.mkdir()
    (asked.out / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="holds files that are no tuning's"):
        carried_out(asked, Host())
    assert [path.name for path in asked.out.iterdir()] == ["notes"]


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_test_share_is_a_share(asked: Order, share: float) -> None:
    with pytest.raises(UsageError, match="give a share between 0 and 1"):
        replace(asked, test_share=share)


@pytest.mark.parametrize("name", ["", "Device", "a/b", "..", "-a", "x" * 65, "server"])
def test_a_name_that_no_server_takes_is_refused_before_anything_is_written(asked: Order, name: str) -> None:
    with pytest.raises(UsageError, match="is no device's name; give 1 to 64 small letters, digits and hyphens"):
        replace(asked, name=name)
