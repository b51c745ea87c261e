"""Which preparations are the same: what is studied, settings, weights and code decide, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.attacks.reconstruction.match import Match
from sidelight.audits.sandbox.prepared_key import code_version, plugged_code, prepared_key
from sidelight.system.public import Example, Known, Public

from ..contracts.micro import make_micro
from .small import Small

PUBLIC = Public(
    {"layers": [1], "precision": "fp32", "longest": 9, "prompt": "", "cut": 2},
    ("no", "yes"),
    backbone="/one/folder",
    auxiliary=(Example("a text", "no"),),
    head={"weight": torch.ones(2, 2)},
)


def key(public: Public = PUBLIC, backbone: str = "digest", **settings: Any) -> str:
    attack = Match(**settings)
    assert attack.studies is not None
    return prepared_key(attack, settings, public.only(attack.studies.items, attack.studies.facts), backbone)


def test_runs_that_differ_in_nothing_that_is_studied_share_a_preparation() -> None:
    other = {"backbone": "/another/folder", "head": None, "targets": ("0" * 16,), "candidates": ("c",)}
    assert key(replace(PUBLIC, **other)) == key()  # type: ignore[arg-type]
    assert key(replace(PUBLIC, facts={**PUBLIC.facts, "cut": 3, "defence": "noise"})) == key()
    assert key().startswith("match-")


@pytest.mark.parametrize(
    "other",
    [
        {"facts": {**PUBLIC.facts, "layers": [2]}},
        {"labels": ("no", "maybe")},
        {"backbone": None},
        {"auxiliary": (Example("a text", "yes"),)},
        {"auxiliary": (Example("another", "no"),)},
    ],
    ids=str,
)
def test_whatever_is_studied_makes_another_preparation(other: dict[str, Any]) -> None:
    assert key(replace(PUBLIC, **other)) != key()


def test_so_do_weights_settings_and_tensors() -> None:
    assert len({key(), key(backbone="other"), key(candidates=8)}) == 3
    heads: tuple[dict[str, torch.Tensor], ...]
    heads = ({"weight": torch.ones(2, 2)}, {"weight": torch.ones(4, 1)}, {"weight": torch.ones(2, 2).half()}, {})
    assert len({prepared_key(Match(), {}, replace(PUBLIC, head=head), "") for head in (*heads, None)}) == 5


def test_so_do_priors_known_rows_and_revealed_keys_where_they_are_studied() -> None:
    others = (
        {"keys": {"activations": torch.ones(1, 2, 2)}},
        {"keys": {"activations": torch.ones(1, 1, 4)}},
        {"priors": (0.5, 0.5)},
        {"known": (Known("0" * 16, "no"),)},
    )
    keys = {prepared_key(Match(), {}, replace(PUBLIC, **other), "") for other in others}
    assert len(keys | {prepared_key(Match(), {}, PUBLIC, "")}) == 5


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "some_plugin").mkdir()
    for name in ("__init__", "helper"):
        (tmp_path / "some_plugin" / f"{name}.py").write_text("VALUE = 1\n", encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    code_version.cache_clear()
    yield tmp_path / "some_plugin"
    code_version.cache_clear()


def test_a_plug_in_that_was_rewritten_prepares_again(plugin: Path) -> None:
    before = code_version("some_plugin.attack")
    (plugin / "notes.txt").write_text("no code", encoding="ascii")
    code_version.cache_clear()
    assert code_version("some_plugin.attack") == before
    (plugin / "helper.py").write_text("VALUE = 2\n", encoding="ascii")
    code_version.cache_clear()
    assert code_version("some_plugin.attack") != before
    assert code_version("sidelight.attacks.labels.sign") not in (
        before,
        code_version("some_plugin"),
    )


def test_the_code_of_a_plug_in_alone_is_told_by_its_own_sources(plugin: Path) -> None:
    before, ours = plugged_code("some_plugin.protocol"), code_version("some_plugin.protocol")
    (plugin / "helper.py").write_text("VALUE = 3\n", encoding="ascii")
    plugged_code.cache_clear()
    assert plugged_code("some_plugin.protocol") not in (before, ours)
    assert plugged_code("sidelight.attacks.labels.sign") == plugged_code("sidelight.system.protocols.pae")
    plugged_code.cache_clear()


def test_a_relative_counts_by_its_weights_where_it_is_not_the_backbone(small: Small, tmp_path: Path) -> None:
    other = make_micro(tmp_path).folders["llama"]
    private = replace(PUBLIC, backbone=None)
    relatives = (None, str(small.backbone), str(other))
    assert len({prepared_key(Match(), {}, replace(private, relative=one), "") for one in relatives}) == 3
    itself = replace(PUBLIC, relative=PUBLIC.backbone)
    assert prepared_key(Match(), {}, itself, "") == prepared_key(Match(), {}, PUBLIC, "")
