"""A disk that takes no more, on the server's side: one sentence, others' training goes on, and so does this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sidelight.system import files, folder
from sidelight.system.errors import StoreFull
from sidelight.system.protocols import Scene
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER

from ...contracts.micro import Micro, make_scene, record
from .served import same, serving, tuned, worked

SIDE = SideTraining(bottleneck=8, epochs=2, batch=12, learning_rate=2e-2)
PROTOCOL = PAE(side=SIDE, batch=10)
SAYS = 'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
"""What safetensors says of it."""


@pytest.fixture
def scene(micro: Micro) -> Scene:
    return make_scene(micro.backbone("opt"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def expected(scene: Scene) -> dict[str, torch.Tensor]:
    return dict(record(PROTOCOL, scene).roles[SERVER].held()["tuned"])


def test_a_side_network_that_cannot_be_saved_is_told_and_trained_on_when_there_is_room(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = safetensors.torch.save_file
    left = [1]

    def filling(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            path.write_bytes(b"half")
            raise safetensors.SafetensorError(SAYS)
        save(dict(tensors), path)

    monkeypatch.setattr(folder, "save_file", filling)
    with serving(tmp_path / "store") as served:
        with served.wire() as wire, pytest.raises(StoreFull, match="see that the disk has room"):
            worked(wire, PROTOCOL, scene)
        assert list((tmp_path / "store").rglob("*partial*")) == []
        assert [event for event in served.events if event["event"] == "failed"] == []
        monkeypatch.undo()
        with served.wire() as wire:  # by the same server: its training threads are alive
            assert same(tuned(worked(wire, PROTOCOL, scene)), expected(scene))


def test_terms_that_cannot_be_kept_are_not_half_agreed_on(
    tmp_path: Path, micro: Micro, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who joins with other terms when there is room is trained by those."""
    write = files.write_json

    def full(path: Path, value: object) -> None:
        if path.name.startswith("about"):
            raise OSError(28, "No space left on device")
        write(path, value)

    other = make_scene(micro.backbone("opt"), seed="other")
    with serving(tmp_path / "store") as served, served.wire() as wire:
        monkeypatch.setattr("sidelight.system.cache.store.write_json", full)
        with pytest.raises(StoreFull, match="see that the disk has room"):
            wire.join(PROTOCOL.agreed(other))
        monkeypatch.undo()
        assert same(tuned(worked(wire, PROTOCOL, scene)), expected(scene))
