"""What is shown of a tuning while it runs."""

from __future__ import annotations

from pathlib import Path

from sidelight.system.progress import Progress
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.phases import LOADING, SENDING, TRAINING
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import Micro
from .small import Break, Host, carried_out, order, rows_csv


class Heard(Progress):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self.parts: list[tuple[str, float, float]] = []

    def part(self, what: str, done: float, total: float) -> None:
        self.parts.append((what, done, total))


def test_every_phase_grows_to_its_end_and_nothing_else_is_said(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    heard = Heard()
    assert tune(order(tmp_path, micro), Surroundings(Host().open_wire, open_cache, heard))
    assert heard.lines == []
    for what, end in ((SENDING, 6), (TRAINING, 3)):  # 56 samples in batches of 10; 3 epochs
        steps = [(done, total) for name, done, total in heard.parts if name == what]
        assert steps == sorted(steps)
        assert steps[0][0] == 1
        assert steps[-1] == (end, end)
    assert list(dict.fromkeys(name for name, _, _ in heard.parts)) == [SENDING, TRAINING, LOADING]


def test_a_tuning_that_goes_on_has_sent_what_was_sent_before(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    asked, heard, host = order(tmp_path, micro), Heard(), Host(breaks=[Break("train", 0, True)])
    assert not carried_out(asked, host)
    assert tune(asked, Surroundings(host.open_wire, open_cache, heard))
    assert {(done, total) for name, done, total in heard.parts if name == SENDING} == {(6, 6)}
