"""Tunings of several devices that share a run: each on its own rows, all together over one server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.building import Recipe
from sidelight.system.errors import UsageError
from sidelight.system.progress import Progress
from sidelight.system.tuning import order as ordering
from sidelight.system.tuning.connecting import open_wire
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.order import Order, prepared
from sidelight.system.tuning.shared import Shared, read_shared
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import Micro
from ..network.served import serving
from .small import order, rows_csv, summary

SECRET = "a secret of two phones"
TWO = Recipe("splitfed", {"lora": {"rank": 4, "epochs": 1, "batch": 12}, "fleet": {"devices": 2}}, {})


def asked_of(folder: Path, micro: Micro, party: str, recipe: Recipe = TWO) -> Order:
    """The order of one of two phones, which has a folder and rows of its own."""
    (folder / party).mkdir()
    rows_csv(folder / party)
    return order(folder / party, micro, recipe, name=f"phone-{party}", shared=Shared("night", party, SECRET))


def test_two_devices_tune_together_each_on_its_own_rows(
    tmp_path: Path, micro: Micro, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_at_a_time = threading.Lock()  # transformers loads one model at a time in a process

    def loaded(*what: Any) -> Backbone:
        with one_at_a_time:
            return load_backbone(*what)

    monkeypatch.setattr(ordering, "load_backbone", loaded)
    orders = [asked_of(tmp_path, micro, party) for party in ("device-0", "device-1")]
    with serving(tmp_path / "store", backbone=str(micro.folders["opt"])) as served:

        def carried_out(one: Order) -> bool:
            wire = partial(open_wire, served.connection(one.name))
            return tune(one, Surroundings(wire, open_cache, Progress(print)))

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(carried_out, orders)) == [True, True]
        devices = {event["device"] for event in served.events if event["event"] == "joined"}
    assert devices == {"phone-device-0", "phone-device-1"}
    for one in orders:
        found = summary(one)
        assert found["uplink_bytes"] > found["samples"] * 32 * 4  # a position of each, of width 32, at least
        assert found["accuracy"]["n"] > 0
        assert SECRET not in (one.out / "device" / "about.json").read_text("utf-8")


def test_what_a_shared_run_lacks_is_named(tmp_path: Path, micro: Micro) -> None:
    alone = Recipe("pae", {}, {})
    with pytest.raises(UsageError, match="pae is one device's own"):
        prepared(asked_of(tmp_path, micro, "device-0", alone), "5eed")
    with pytest.raises(UsageError, match="'device-2' is no device of the run; give device-0 to device-1"):
        prepared(asked_of(tmp_path, micro, "device-2"), "5eed")
    rows_csv(tmp_path)
    with pytest.raises(UsageError, match="trained by several devices; give --run"):
        prepared(order(tmp_path, micro, TWO), "5eed")


def test_a_run_and_its_secret_are_read_as_they_were_typed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    assert read_shared(None, None, None) is None
    assert read_shared("night", "device-1", path) == Shared("night", "device-1", SECRET)
    with pytest.raises(UsageError, match="needs all of --run, --party and --run-secret"):
        read_shared("night", "device-1", None)
    with pytest.raises(UsageError, match="is no run's name"):
        read_shared("../night", "device-1", path)
    path.write_text("short")
    with pytest.raises(UsageError, match="holds no secret of 16 characters"):
        read_shared("night", "device-1", path)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        read_shared("night", "device-1", path)


def test_runs_of_other_names_or_secrets_draw_other_things() -> None:
    seeds = {Shared(run, "device-0", secret).seed for run in ("night", "day") for secret in (SECRET, SECRET[1:])}
    assert len(seeds) == 4
    assert Shared("night", "device-1", SECRET).seed == Shared("night", "device-0", SECRET).seed
