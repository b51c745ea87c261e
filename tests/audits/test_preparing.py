"""What attacks prepare: computed once, shared by all that may share it, resumed after a stop, and blind to views."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.attacks.attack import Attack, LabelGuess
from sidelight.attacks.reconstruction.match import Match
from sidelight.audits import landlock, prepared_files, preparing
from sidelight.audits.guess_files import GuessError
from sidelight.audits.preparing import Shelf, Shelved, prepared_key, read_progress
from sidelight.audits.workers import Broken, Done, Limits, Ready, Study, Workers
from sidelight.system import folder
from sidelight.system.public import Example, Public, load_public
from sidelight.system.randomness import Streams

from . import hostile_attacks
from .conftest import Run

LIMITS = Limits(seconds=60)
needs_landlock = pytest.mark.skipif(not landlock.support().abi, reason=landlock.support().reason)


class Counted(Workers):
    """Workers that are there already, and how often they prepared."""

    def __init__(self, inner: Workers) -> None:
        self.inner, self.studies = inner, 0

    def study(self, study: Study, limits: Limits, watch: Callable[[], None] | None = None) -> Ready | Broken:
        self.studies += 1
        return self.inner.study(study, limits, watch)

    @property
    def closed(self) -> bool:
        return self.inner.closed


@pytest.fixture
def counted(workers: Workers) -> Counted:
    return Counted(workers)


@pytest.fixture
def attack(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Attack]:
    """An attack of `hostile_attacks` under the name by which workers import it."""

    def made(name: str, **settings: Any) -> Attack:
        kind: Callable[..., Attack] = getattr(hostile_attacks, name)
        monkeypatch.setattr(kind, "__module__", "hostile_attacks")
        return kind(**settings)

    return made


Made = Callable[..., Attack]


def ensured(shelf: Shelf, attack: Attack, public: Public, **settings: Any) -> Shelved:
    made = shelf.ensure(attack, settings, public, "")
    assert isinstance(made, Shelved), made
    return made


def said(shelf: Shelf, attack: Attack, public: Public, **settings: Any) -> str:
    made = shelf.ensure(attack, settings, public, "")
    assert isinstance(made, Broken), made
    return made.reason


def test_what_was_prepared_reaches_the_attack_and_is_computed_once(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    learns, public = attack("Learns"), load_public(run.public)
    first = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), learns, public)
    second = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), learns, replace(public, targets=("0" * 16,)))
    assert (first, counted.studies) == (second, 1)
    assert first.seconds > 0
    outcome = counted.inner.run(replace(run.task("Learns", tmp_path / "s"), prepared=first.path))
    assert isinstance(outcome, Done), outcome
    assert isinstance(outcome.guess, LabelGuess)
    # one auxiliary text, no query, one fact, two classes: what it studies, whatever else is public
    drawn = folder.read_tensors(first.path)["drawn"].tolist()
    assert outcome.guess.labels.tolist() == [*drawn, 1, 0, 1, 2]


def test_its_randomness_comes_of_its_key(counted: Counted, attack: Made, run: Run, tmp_path: Path) -> None:
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), attack("Learns"), load_public(run.public))
    generator = torch.Generator().manual_seed(Streams(made.key).integer("preparation"))
    assert torch.equal(folder.read_tensors(made.path)["drawn"], torch.randint(1 << 40, (1,), generator=generator))


def test_an_attack_that_prepares_nothing_needs_nothing(
    workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf", workers, LIMITS)
    assert shelf.ensure(attack("Zeros"), {}, load_public(run.public), "") is None
    assert not (tmp_path / "shelf").exists()


def test_an_attack_without_what_it_prepares_is_refused(workers: Workers, run: Run, tmp_path: Path) -> None:
    outcome = workers.run(run.task("Learns", tmp_path / "s"))
    assert isinstance(outcome, Broken)
    assert outcome.reason == "UsageError: hostile prepares from public knowledge; give it what it prepared"
    outcome = workers.run(replace(run.task("Learns", tmp_path / "s"), prepared=tmp_path / "prepared.safetensors"))
    assert isinstance(outcome, Broken)
    assert outcome.reason == "UsageError: prepared.safetensors is missing; prepare the attack again"


@needs_landlock
def test_a_preparation_can_read_no_view_no_truth_and_no_other_public_folder(
    workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    (run.truth / "rows.jsonl").write_text("{}", encoding="ascii")
    private = (run.view / "manifest.json", run.view / "messages.jsonl", run.truth / "rows.jsonl")
    paths = tuple(map(str, (*private, run.public / "public.json", "../public/public.json")))
    snoops = attack("Snoops", files=paths)
    made = ensured(Shelf(tmp_path / "shelf", workers, LIMITS), snoops, load_public(run.public), files=paths)
    # of these, only the folder that was made for it
    assert folder.read_tensors(made.path)["opened"].tolist() == [0, 0, 0, 0, 1]


def test_two_threads_and_two_audits_that_share_a_folder_prepare_once(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelves = [Shelf(tmp_path / "shelf", counted, LIMITS) for _ in range(2)]
    learns, public = attack("Learns"), load_public(run.public)
    ready = threading.Barrier(4)

    def ask(at: int) -> Shelved:
        ready.wait()
        return ensured(shelves[at % 2], learns, public)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, range(4)))
    assert counted.studies == 1
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == [found[0].key]


def test_who_waits_for_another_audit_gives_up_when_it_is_closed(
    counted: Counted, attack: Made, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_locked", lambda handle: False)
    monkeypatch.setattr(Counted, "closed", property(lambda self: True))
    with pytest.raises(RuntimeError, match="these workers are closed"):
        Shelf(tmp_path / "shelf", counted, LIMITS).ensure(attack("Learns"), {}, load_public(run.public), "")


def walk(key: str) -> list[float]:
    """Where the preparation of `Stops` ends if nothing stops it."""
    seed = Streams(key).integer("preparation")
    generator, at = torch.Generator().manual_seed(seed), torch.zeros(4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(6):
            at = at / 2 + torch.rand(4, generator=generator) + torch.rand(4)
    ends: list[float] = at.tolist()
    return ends


def test_a_killed_preparation_fails_once_and_goes_on_when_it_is_asked_for_again(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    stops, public = attack("Stops", how="killed"), load_public(run.public)
    first = Shelf(tmp_path / "shelf", counted, LIMITS)
    assert said(first, stops, public, how="killed") == said(first, stops, public, how="killed") == "killed by SIGKILL"
    assert counted.studies == 1
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), stops, public, how="killed")
    assert folder.read_tensors(made.path)["walk"].tolist() == walk(made.key)


AUDIT = """
import sys
from pathlib import Path
from hostile_attacks import Stops
from sidelight.audits.guess_files import GuessError
from sidelight.audits.preparing import Shelf
from sidelight.audits.workers import Limits, Workers
from sidelight.system.public import load_public
with Workers() as workers:
    Shelf(Path(sys.argv[2]), workers, Limits()).ensure(
        Stops("hangs"), {"how": "hangs"}, load_public(Path(sys.argv[1])), "")
"""


def test_what_a_killed_audit_prepared_is_taken_up_by_the_next(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    stops, public = attack("Stops", how="hangs"), load_public(run.public)
    key = prepared_key(stops, {"how": "hangs"}, public, "")
    audit = subprocess.Popen([sys.executable, "-c", AUDIT, run.public, tmp_path / "shelf"])
    end = time.monotonic() + 60
    while not (tmp_path / "shelf" / f"{key}.partial" / "work" / "stopped").exists():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    os.kill(audit.pid, signal.SIGKILL)
    audit.wait()
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), stops, public, how="hangs")
    assert (made.key, counted.studies) == (key, 1)
    assert folder.read_tensors(made.path)["walk"].tolist() == walk(key)
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == [key]


def test_progress_is_told_from_none_to_all(workers: Workers, attack: Made, run: Run, tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    public = load_public(run.public)
    stops, limits = attack("Stops", how="hangs"), Limits(seconds=1)
    reason = said(
        Shelf(tmp_path / "shelf", workers, limits, lambda *note: told.append(note)), stops, public, how="hangs"
    )
    assert reason == "no preparation within 1 s"
    key = prepared_key(stops, {"how": "hangs"}, public, "")
    assert (told[0], told[-1]) == ((key, 0.0, 1.0), (key, 1.0, 1.0))
    assert {(key, 1.0, 6.0)} <= set(told)


@pytest.mark.parametrize(
    "noted",
    [b"", b"[]", b'{"done": NaN, "total": 1.0}', b'{"done": 1.0, "total": 1e999}', b'{"done": -1.0, "total": 1.0}',
     b'{"done": 2.0, "total": 1.0}', b'{"done": "1", "total": 2.0}', b'{"total": 2.0}', b" " * 5000],
)  # fmt: skip
def test_progress_that_makes_no_sense_is_not_told(noted: bytes, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_bytes(noted)
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_bytes(b'{"done": 1.0, "total": 2.0}')
    assert read_progress(tmp_path) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("link", r"prepared\.safetensors is not a plain file"),
        ("folder", r"prepared\.safetensors is not a plain file of its own"),
        ("text", r"prepared\.safetensors is malformed: SafetensorError"),
        ("none", r"the attack left no prepared\.safetensors"),
        ("list", "the attack prepared list; it must prepare a mapping of names to tensors"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused_and_not_kept(
    kind: str, reason: str, workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    target = run.truth / "weights.safetensors"
    folder.write_tensors(target, {"weights": torch.ones(2)})
    settings = {"kind": kind, "target": str(target)}
    plants = attack("Plants", **settings)
    for _ in range(2):  # whatever the first left behind
        shelf = Shelf(tmp_path / "shelf", workers, LIMITS)
        with pytest.raises(AssertionError, match=reason):
            ensured(shelf, plants, load_public(run.public), **settings)
    key = prepared_key(plants, settings, load_public(run.public), "")
    assert {path.name for path in (tmp_path / "shelf").iterdir()} == {f"{key}.lock", f"{key}.partial"}
    assert target.exists()


def test_too_large_too_many_and_too_long_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_tensors(tmp_path / "file", {"a": torch.ones(2), "long": torch.ones(2)})
    prepared_files.check(tmp_path / "file")
    for limit, reason in (
        ("LONGEST", "names of at most 1"),
        ("MOST", "at most 1 tensors"),
        ("LARGEST", "at most 1 are"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(prepared_files, limit, 1)
            with pytest.raises(GuessError, match=reason):
                prepared_files.check(tmp_path / "file")


def test_a_failure_says_why_and_is_tried_again_by_another_shelf(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelf, public = Shelf(tmp_path / "shelf", counted, LIMITS), load_public(run.public)
    assert [said(shelf, attack("Fails"), public) for _ in range(3)] == ["ArithmeticError: nothing converges"] * 3
    assert counted.studies == 1
    said(Shelf(tmp_path / "shelf", counted, LIMITS), attack("Fails"), public)
    assert counted.studies == 2


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
    return prepared_key(attack, settings, public.only(*attack.studies), backbone)


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


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "some_plugin").mkdir()
    for name in ("__init__", "helper"):
        (tmp_path / "some_plugin" / f"{name}.py").write_text("VALUE = 1\n", encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    preparing.code_version.cache_clear()
    yield tmp_path / "some_plugin"
    preparing.code_version.cache_clear()


def test_a_plug_in_that_was_rewritten_prepares_again(plugin: Path) -> None:
    before = preparing.code_version("some_plugin.attack")
    (plugin / "notes.txt").write_text("no code", encoding="ascii")
    preparing.code_version.cache_clear()
    assert preparing.code_version("some_plugin.attack") == before
    (plugin / "helper.py").write_text("VALUE = 2\n", encoding="ascii")
    preparing.code_version.cache_clear()
    assert preparing.code_version("some_plugin.attack") != before
    assert preparing.code_version("sidelight.attacks.labels.sign") not in (
        before,
        preparing.code_version("some_plugin"),
    )
