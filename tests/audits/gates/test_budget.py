"""A budget's file: what it may say, and one sentence for everything that it may not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest
import torch

from sidelight.attacks.attack import Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from sidelight.audits.cells.membership import Game
from sidelight.audits.cells.scoring import Answers, score
from sidelight.audits.gates.budget import Limit, read_budget
from sidelight.audits.gates.metrics import METRICS
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.public import Challenge
from sidelight.system.truth import TrueText, Truth

from .held import budget

DOCS = Path(__file__).parents[3] / "docs" / "gates.md"


def read(folder: Path, text: str) -> Limit:
    [limit] = read_budget(budget(folder, text)).limits
    return limit


def test_the_smallest_budget_bounds_the_advantage_over_labels_of_one_protocol(tmp_path: Path) -> None:
    limit = read(tmp_path, 'goal = "labels"\nprotocol = "pae"\nmax_advantage = 0.05\n')
    assert (limit.bound, limit.at, limit.asked, limit.roles) == ("max_advantage", 0.05, "labels", ("row",))
    assert limit.holds_for("pae", "pae (difference=logit)", {"adversary": "server"})
    assert not limit.holds_for("mobillm", "mobillm", {"adversary": "server"})


def test_a_limit_names_one_label_or_several(tmp_path: Path) -> None:
    for text, taken in (('label = "a"', ["a"]), ('label = ["a", "b"]', ["a", "b"])):
        limit = read(tmp_path, f"{text}\nmax_value = 0.5\n")
        assert [name for name in ("a", "b", "c") if limit.holds_for("pae", name, {})] == taken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('gaol = "labels"\nmax_value = 0.1', "did you mean 'goal'?"),
        ('goal = "label"\nmax_value = 0.1', "did you mean 'labels'?"),
        ('goal = "epsilon"\nmax_value = 0.1', "unknown goal"),
        ('protocol = "mobilm"\nmax_value = 0.1', "did you mean 'mobillm'?"),
        ('protocol = ["pae", "mobilm"]\nmax_value = 0.1', "did you mean 'mobillm'?"),
        ('protocol = "pae-hardened"\nmax_value = 0.1', "is a preset; give label = 'pae-hardened'"),
        ('attack = "adback"\nmax_value = 0.1', "did you mean 'addback'?"),
        ('metric = "acuracy"\nmax_value = 0.1', "did you mean 'accuracy'?"),
        ('adversary = "servers"\nmax_value = 0.1', "did you mean 'server'?"),
        ("threat.known_label = 1\nmax_value = 0.1", "did you mean 'known_labels'?"),
        ('threat.known_labels = "1"\nmax_value = 0.1', "threat.known_labels in limit 1"),
        ('goal = "labels"', "has no bound; give one of max_advantage"),
        ("max_value = 0.1\nmax_advantage = 0.1", "has max_advantage and max_value; give each a limit of its own"),
        ("max_value = 0", "greater than 0"),
        ("max_value = 1.0", "less than 1"),
        ("max_advantage = -0.1", "greater than or equal to 0"),
        ("max_advantage = nan", "finite number"),
        ("max_epsilon = inf", "finite number"),
        ('max_value = "0.1"', "valid number"),
        ("max_value = true", "valid number"),
        ("label = []\nmax_value = 0.1", "give a name or a list of names"),
        ("label = 3\nmax_value = 0.1", "give a name or a list of names"),
        ('goal = "texts"\nattack = "sign"\nmax_value = 0.1', "attack 'sign' is of labels, not of goal 'texts'"),
        ('goal = "texts"\nmetric = "auc"\nmax_value = 0.1', "metric 'auc' is of members, not of goal 'texts'"),
        ('goal = "texts"\nmin_utility = 0.5', "which have no goal"),
        ('attack = "sign"\nmax_epsilon = 2', "which have no attack"),
        ("max_value = 0.1\nmax_delta = 1e-6", "max_delta belongs to max_epsilon"),
        ('max_epsilon = 1\npromise = "labels"', "'label', 'example' or 'released'"),
        ('goal = "members"\nmax_advantage = 0.1', 'metric = "tpr_at_1" and max_value'),
        ('attack = "lira"\nmax_advantage = 0.1', 'metric = "tpr_at_1" and max_value'),
        ('metric = "auc"\nmax_advantage = 0.1', 'metric = "tpr_at_1" and max_value'),
        ("[limit]\nmax_value = 0.1", "[[limit]], in double brackets"),
        ("[[limits]]\nmax_value = 0.1", "did you mean 'limit'?"),
        ("limit = [1]", "[[limit]], in double brackets"),
        ("[[limit]]\nmax_value = ", "is not valid TOML"),
        ("[unfinished", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_says_what_would_be_right(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as refused:
        read(tmp_path, text)
    assert "limits.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
def test_a_file_without_limits_or_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "limits.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"limits\.toml"):
        read_budget(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(UsageError, match="does not exist; give a TOML file"):
            read_budget(path)


def test_the_wrong_limit_of_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="limit 2 of"):
        read_budget(budget(tmp_path, '[[limit]]\nmax_value = 0.1\n[[limit]]\ngoal = "text"\nmax_value = 0.1'))


def test_every_budget_of_the_docs_is_read(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for text in examples:
        assert read_budget(budget(tmp_path, text)).limits


def test_a_limit_can_name_every_metric_that_a_guess_is_scored_by() -> None:
    """All metrics that appear at all: of personal spans, of labels by coin, of owners, of certified texts."""
    rows = tuple(TrueText(f"r{i}", "a b", "yes", (1, 2), (True, False), ("a",), i == 0) for i in range(2))
    outputs = torch.eye(2)
    challenge = tuple(Challenge(f"c{i}", "text", "yes") for i in range(10_010))
    owners = {f"c{i}": f"device-{i % 2}" for i in range(10)}
    answers = Answers(
        Truth(rows, queries=("q0", "q1"), outputs=outputs, query_labels=("no", "yes")),
        ("no", "yes"),
        ("r0", "r1"),
        lambda tokens: " ".join("?ab"[token] for token in tokens),
        game=Game(challenge, owners, {}),
    )
    names = tuple(one.id for one in challenge)
    scores = torch.from_numpy(numpy.arange(len(names), dtype=numpy.float32))
    guesses: dict[Goal, Guess] = {
        Goal.LABELS: LabelGuess(("r0", "r1"), torch.tensor([0, 1])),
        Goal.TEXTS: TextGuess(("r0", "r1"), ((1, 2), (1, 2)), (True, False)),
        Goal.MODEL: StolenModel(("q0", "q1"), outputs),
        Goal.MEMBERS: MembershipScores(names, scores, ("device-0",) * len(names)),
    }
    for goal, guess in guesses.items():
        assert set(score(goal, guess, answers)) == set(METRICS[goal])
