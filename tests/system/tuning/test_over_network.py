"""The device as a program, against a server over gRPC: the same model, and a server that forgets."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.system.errors import SidelightError
from sidelight.system.folder import read_tensors
from sidelight.system.progress import Progress
from sidelight.system.tuning.connecting import forget, open_wire
from sidelight.system.tuning.export import load_tuned
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import QUERIES, Micro
from ..network.served import serving
from .small import Host, begun, carried_out, order, rows_csv


def test_a_tuning_over_the_network_gives_the_model_that_one_process_gives(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    here = begun(order(tmp_path, micro))
    there = begun(replace(here, out=tmp_path / "there"))
    assert carried_out(here, Host())
    with serving(tmp_path / "store") as served:
        connection = served.connection(here.name)
        assert tune(there, Surroundings(partial(open_wire, connection), open_cache, Progress(print)))
        assert (tmp_path / "store" / here.name).is_dir()
        forget(connection)
        assert not (tmp_path / "store" / here.name).exists()
    own, other = (read_tensors(asked.out / "model" / "model.safetensors") for asked in (here, there))
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    texts = [query.text for query in QUERIES]
    assert torch.equal(load_tuned(there.out).tuned.predict(texts), load_tuned(here.out).tuned.predict(texts))


def test_a_server_that_is_away_is_named_and_the_tuning_goes_on_when_it_is_back(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    asked = order(tmp_path, micro)
    with serving(tmp_path / "store") as served:
        gone = served.connection(asked.name, patience=0.2, silence=0.5)
    with pytest.raises(SidelightError, match="does not answer"):
        tune(asked, Surroundings(partial(open_wire, gone), open_cache, Progress(print)))
    with serving(tmp_path / "store") as served:
        back = served.connection(asked.name)
        assert tune(asked, Surroundings(partial(open_wire, back), open_cache, Progress(print)))


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        ("pae_lm", {"side": {"bottleneck": 4, "epochs": 1, "batch": 8}, "entries": 8}),
        ("mobillm", {"side": {"bottleneck": 4, "epochs": 1, "batch": 8}}),
        ("split", {"lora": {"rank": 2, "epochs": 1}}),
        ("ushape", {"lora": {"rank": 2, "epochs": 1}}),
    ],
)
def test_every_protocol_that_is_served_is_tuned_and_measured(
    tmp_path: Path, micro: Micro, protocol: str, settings: dict[str, Any]
) -> None:
    rows_csv(tmp_path)
    asked = replace(order(tmp_path, micro), protocol=protocol, settings=settings, epochs=None)
    with serving(tmp_path / "store", backbone=asked.backbone) as served:
        around = Surroundings(partial(open_wire, served.connection(asked.name)), open_cache, Progress(print))
        assert tune(asked, around)
        assert not tune(asked, around)
    found = json.loads((asked.out / "summary.json").read_text("utf-8"))
    assert found["protocol"] == protocol
    assert found["accuracy"]["n"] > 0
    assert found["untuned"]["n"] == found["accuracy"]["n"]
    assert found["uplink_bytes"] > found["payload_bytes"] / 2 > 0
