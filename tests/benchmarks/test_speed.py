"""A race counts a contender's own time alone, stops where it is good enough, and a peer learns as its users see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from sidelight.benchmarks.finding import Bench, Headline
from sidelight.benchmarks.memory.device import samples
from sidelight.benchmarks.speed import recorder, target
from sidelight.benchmarks.speed.command_line import measure as waited
from sidelight.benchmarks.speed.epochs import _ratio
from sidelight.benchmarks.speed.parties import ClockedWire, Parts, headlines, parts
from sidelight.benchmarks.speed.peft_tuning import PeftSettings, PeftTuning
from sidelight.benchmarks.speed.protocol_tuning import contender
from sidelight.benchmarks.speed.race import Judge, Predict, laps, reached, run
from sidelight.system.backbone import load_backbone
from sidelight.system.data import Sample, Split
from sidelight.system.errors import SidelightError
from sidelight.system.message import Message
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER, Server
from sidelight.system.view import ViewWriter

from ..contracts.conftest import micro
from ..contracts.micro import LABELS, VICTIM, Micro

__all__ = ["micro"]


class Clock:
    """Time that passes where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for name in ("perf_counter", "process_time"):
            monkeypatch.setattr(f"time.{name}", lambda: self.now)

    def work(self, seconds: Sequence[float]) -> Iterator[str]:
        for took in seconds:
            self.now += took
            yield "looked at"


def test_what_looks_at_a_contender_is_not_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, found = Clock(monkeypatch), []
    for wall, processor, _ in laps(clock.work([2.0, 3.0])):
        found.append((wall, processor))
        clock.now += 100.0
    assert found == [(2.0, 2.0), (5.0, 5.0)]


def test_a_race_ends_at_the_first_look_that_is_good_enough() -> None:
    rows = [Sample(str(at), "text", label, ()) for at, label in enumerate("ab")]

    def learning(_: Sequence[Sample]) -> Iterator[Predict]:
        yield lambda texts: torch.tensor([[1.0, 0.0]] * len(texts))
        yield lambda texts: torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        raise AssertionError("the target was reached")

    stops = run(learning, rows, Judge(rows, rows, "ab"), target=0.9)
    assert [stop.accuracy for stop in stops] == [0.5, 1.0]
    assert reached(stops, 0.9) == stops[1]
    assert reached(stops[:1], 0.9) is None


def test_a_peer_learns_what_it_is_shown(micro: Micro) -> None:
    own = samples(32, 4)
    labels = LABELS[:4]
    rows = [Sample(one.id, f"{labels[at % 4]} {one.text}", labels[at % 4], ()) for at, one in enumerate(own)]
    tuning = PeftTuning(str(micro.folders["opt"]), labels, PeftSettings(3e-2, epochs=20, batch=8, checks=1))
    stops = run(tuning.work, rows, Judge(rows, rows, labels))
    assert len(stops) == 20
    assert stops[-1].accuracy == 1.0 > stops[0].accuracy


def test_a_pass_of_a_peer_sees_every_row_once(micro: Micro) -> None:
    import random

    tuning = PeftTuning(str(micro.folders["opt"]), LABELS, PeftSettings(batch=4))
    rows = [[0] * (1 + at % 5) for at in range(70)]
    seen = Counter(place for batch in tuning._batches(rows, random.Random(0)) for place in batch)
    assert seen == Counter(range(70))


def test_a_protocol_races_to_its_end_and_predicts(micro: Micro) -> None:
    backbone = load_backbone(str(micro.folders["opt"]))
    enter = contender(PAE(side=SideTraining(bottleneck=4, epochs=2)), backbone, LABELS)
    (stop,) = run(enter, VICTIM, Judge(VICTIM, VICTIM, LABELS))
    assert stop.processor > 0
    assert 0 <= stop.accuracy <= 1


def test_epochs_after_the_first_cost_pae_the_server_alone() -> None:
    # 3 epochs: three steps of 6 s, against one pass of 2 s and three steps of 1 s
    assert _ratio({"LoRA step": 6.0, "PAE device pass": 2.0, "PAE server step": 1.0}, "LoRA step", 3) == 18 / 5


def test_each_party_is_charged_with_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    class Slow(Server):
        def handle(self, message: Message) -> Message:
            clock.now += 3.0
            return self.answer(message, "ready")

    def encoded(wire: ClockedWire, message: Message) -> bytes:
        clock.now += 1.0
        return whole(wire, message)

    whole = ClockedWire._encoded
    monkeypatch.setattr(ClockedWire, "_encoded", encoded)
    wire = ClockedWire({SERVER: Slow()}, lambda message: None)
    clock.now += 5.0
    wire.request(Message("train", DEVICE, SERVER, 0))
    assert (wire.inside, wire.served[SERVER]) == (5.0, 3.0)  # an encoding each way


def test_the_parts_of_a_run_are_all_there(micro: Micro) -> None:
    backbone = load_backbone(str(micro.folders["opt"]))
    found = parts(PAE(side=SideTraining(bottleneck=4, epochs=1)), backbone, samples(16, 4))
    assert min(found) > 0


def test_what_a_device_is_spared_is_held_against_paes() -> None:
    found = {"plain inference": Parts(2.0), "pae": Parts(3.0, 1.0, 1.0), "split": Parts(12.0, 1.0, 1.0)}
    assert [line.found for line in headlines(found)] == [1.5, 4.0]


def test_a_recorder_is_held_to_the_median_of_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = iter([9.0, 1.2, 1.0, 1.04] * len(recorder.RUNS))  # the first turn warms up
    monkeypatch.setattr(recorder, "_seconds", lambda *given: next(recorded) if given[-1] else 1.0)
    lines = recorder.measure(Bench(), train=40, repeats=3).headlines
    assert [(line.found, line.reached) for line in lines] == [(1.04, True)] * len(recorder.RUNS)
    monkeypatch.setattr(recorder, "_seconds", lambda *given: 1.1 if given[-1] else 1.0)
    assert {line.reached for line in recorder.measure(Bench(), train=40, repeats=3).headlines} == {False}


def test_a_run_is_really_recorded(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    written = list[int]()
    monkeypatch.setattr(recorder, "ViewWriter", lambda *given: Noting(written, *given))
    backbone, protocol = load_backbone(str(micro.folders["opt"])), PAE(side=SideTraining(bottleneck=4, epochs=1))
    took = [recorder._seconds(protocol, backbone, VICTIM[:8], LABELS, recorded) for recorded in (False, True)]
    assert min(took) > 0
    assert len(written) == 1
    assert written[0] > 0


class Noting(ViewWriter):
    """Counts what it is told, once it is closed."""

    def __init__(self, written: list[int], *given: Any) -> None:
        super().__init__(*given)
        self._written, self._count = written, 0

    def __call__(self, message: Message) -> None:
        self._count += 1
        super().__call__(message)

    def close(self, *given: Any) -> None:
        self._written.append(self._count)
        super().close(*given)


@pytest.mark.parametrize(("pae", "ratio"), [((0.5, 0.9), 3.0), ((0.5, 0.6), 0.0)])
def test_who_never_gets_there_has_no_ratio(
    monkeypatch: pytest.MonkeyPatch, pae: tuple[float, float], ratio: float
) -> None:
    """LoRA is there after 6 s at its second look, PAE after 2 s or never."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(target, "_field", lambda *_: [("LoRA", "l", lora), ("PAE", "p", ours)])

    def lora(_: Sequence[Sample]) -> Iterator[Predict]:
        for right in (0.5, 0.9):
            clock.now += 3.0
            yield lambda texts, right=right: guessed(right, texts)  # type: ignore[misc]

    def ours(_: Sequence[Sample]) -> Iterator[Predict]:
        for right in pae:
            clock.now += 1.0
            yield lambda texts, right=right: guessed(right, texts)  # type: ignore[misc]

    def guessed(right: float, texts: Sequence[str]) -> torch.Tensor:
        """As many of ten are right."""
        labels = torch.tensor([int(text) for text in texts])
        wrong = torch.arange(len(texts)) % 10 >= round(10 * right)
        return torch.nn.functional.one_hot((labels + wrong) % 20, 20).float()

    monkeypatch.setattr(target, "rows", numbered)
    found = target.measure(Bench(), repeats=1)
    first = found.headlines[0]
    assert first.found == pytest.approx(ratio)
    assert first.reached is False
    assert [row["processor seconds"] for row in found.rows] == [6.0, 2.0]


def numbered(*_: object, **__: object) -> Split:
    """Rows whose text is the place of their label."""
    own = tuple(Sample(f"{at}", f"{at % 20}", f"{at % 20}", ()) for at in range(1000))
    labels = tuple(map(str, range(20)))
    return Split(victim_train=own[:20], victim_test=own[:400], auxiliary=(), non_member=own[400:], labels=labels)


def test_a_command_that_fails_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidelight.benchmarks.speed.command_line.SIDELIGHT", ("python", "-c", "raise SystemExit(2)"))
    with pytest.raises(SidelightError, match="failed, so that it has no time"):
        waited(Bench(), quick_seconds=None)


def test_a_bar_at_most_is_missed_above_it() -> None:
    assert Headline("seconds", 0.6, 0.5, at="most").reached is False
