"""Guesses come back whole, and what is no guess is refused with its reason."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sidelight.attacks.attack import EpsilonBound, Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from sidelight.audits.sandbox import guess_files
from sidelight.audits.sandbox.guess_checks import missing, validate
from sidelight.audits.sandbox.guess_files import GuessError

LABELS = LabelGuess(("a", "b"), torch.tensor([1, 0]))
TEXTS = TextGuess(("a", "b"), ((3, 1, 2), ()), (True, False))
MODEL = StolenModel(("q0",), torch.tensor([[0.5, 0.25]]))
MEMBERS = MembershipScores(("a",), torch.tensor([0.25]), ("device-1",))
BOUND = EpsilonBound(1.5, 1e-5, 0.95)


@pytest.mark.parametrize("guess", [LABELS, TEXTS, MODEL, MEMBERS, BOUND], ids=lambda guess: type(guess).__name__)
def test_a_guess_comes_back_as_it_was_saved(guess: Guess, tmp_path: Path) -> None:
    guess_files.save(guess, tmp_path)
    back = guess_files.load(tmp_path)
    assert type(back) is type(guess)
    for name, value in vars(guess).items():
        came = getattr(back, name)
        assert torch.equal(came, value) if isinstance(value, torch.Tensor) else came == value


def test_a_guess_of_no_rows_comes_back(tmp_path: Path) -> None:
    guess_files.save(TextGuess((), ()), tmp_path)
    assert guess_files.load(tmp_path) == TextGuess((), ())


def damaged(folder: Path, name: str, content: bytes) -> str:
    """What is said of a folder where one file has this content."""
    guess_files.save(LABELS, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(GuessError) as caught:
        guess_files.load(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        b"3",
        b'{"type": "LabelGuess"}',
        b'{"type": "Truth", "ids": []}',
        b'{"type": "LabelGuess", "ids": [1]}',
        b'{"type": "MembershipScores", "ids": [], "owners": [1]}',
        b'{"type": ["LabelGuess"], "ids": []}',
    ],
    ids=[
        "empty",
        "cut",
        "deep",
        "not UTF-8",
        "a number",
        "no ids",
        "unknown type",
        "numbers for ids",
        "numbers for owners",
        "a list for type",
    ],
)
def test_a_malformed_index_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "guess.json" in damaged(tmp_path, "guess.json", content)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"\xff" * 100, (20).to_bytes(8, "little") + b'{"labels": {"dtype']
)
def test_malformed_tensors_are_refused(content: bytes, tmp_path: Path) -> None:
    assert "guess.safetensors is malformed" in damaged(tmp_path, "guess.safetensors", content)


def test_a_link_a_pipe_and_a_second_name_are_refused(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.write_text(json.dumps({"type": "LabelGuess", "ids": []}), encoding="ascii")
    index = tmp_path / "guess.json"
    for plant in (index.symlink_to, index.hardlink_to, lambda _: os.mkfifo(index), lambda _: index.mkdir()):
        plant(truth)
        with pytest.raises(GuessError, match="not a plain file"):
            guess_files.load(tmp_path)
        index.rmdir() if index.is_dir() else index.unlink()


def test_an_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    guess_files.save(LABELS, tmp_path)
    os.truncate(tmp_path / "guess.safetensors", 1 << 40)  # takes no room on the disk
    with pytest.raises(GuessError, match=str(1 << 40)):
        guess_files.load(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "holds no labels"),
        ({"labels": torch.zeros(2)}, "labels must be int64, not float32"),
        ({"labels": torch.zeros(2, 1, dtype=torch.int64)}, "1 dimensions"),
    ],
)
def test_wrong_tensors_are_refused(tensors: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    guess_files.save(LABELS, tmp_path)
    save_file(tensors, tmp_path / "guess.safetensors")
    with pytest.raises(GuessError, match=said):
        guess_files.load(tmp_path)


@pytest.mark.parametrize("lengths", [[2, 2], [-1, 4], [2**62, 2**62, 2**62, 2**62, 3]])
def test_lengths_that_do_not_add_up_are_refused(lengths: list[int], tmp_path: Path) -> None:
    guess_files.save(TEXTS, tmp_path)
    tokens = {"tokens": torch.zeros(3, dtype=torch.int64), "certified": torch.zeros(2, dtype=torch.bool)}
    save_file({**tokens, "lengths": torch.tensor(lengths)}, tmp_path / "guess.safetensors")
    with pytest.raises(GuessError, match="do not add up"):
        guess_files.load(tmp_path)


def checked(guess: Guess, goal: Goal) -> str | None:
    return validate(guess, goal, ids=("a", "b"), classes=2, vocabulary=4, queries=("q0", "q1"))


def test_a_guess_that_can_be_scored_has_no_fault() -> None:
    for guess, goal in ((LABELS, Goal.LABELS), (TEXTS, Goal.TEXTS), (MODEL, Goal.MODEL), (MEMBERS, Goal.MEMBERS)):
        assert checked(guess, goal) is None
    assert checked(BOUND, Goal.EPSILON) is None


@pytest.mark.parametrize(
    ("guess", "goal", "said"),
    [
        (LABELS, Goal.TEXTS, "takes a TextGuess, not a LabelGuess"),
        (LabelGuess((), torch.zeros(0, dtype=torch.int64)), Goal.LABELS, "no rows"),
        (LabelGuess(("a", "z"), torch.tensor([0, 0])), Goal.LABELS, "1 unknown ids, such as 'z'"),
        (LabelGuess(("a", "a"), torch.tensor([0, 0])), Goal.LABELS, "repeats 1 ids, such as 'a'"),
        (LabelGuess(("a", "b"), torch.tensor([0])), Goal.LABELS, r"2 ids for values of the shape \(1,\)"),
        (LabelGuess(("a", "b"), torch.tensor([0, 2])), Goal.LABELS, "1 of 2 labels lie outside 0 to 1"),
        (LabelGuess(("a",), torch.tensor([-1])), Goal.LABELS, "outside 0 to 1"),
        (TextGuess(("a",), ((3, 4),)), Goal.TEXTS, "1 of 2 tokens lie outside 0 to 3"),
        (TextGuess(("a",), ((3,), (1,))), Goal.TEXTS, "1 ids"),
        (TextGuess(("a", "b"), ((3,), (1,)), (True,)), Goal.TEXTS, "2 ids"),
        (StolenModel(("a",), torch.zeros(1, 2)), Goal.MODEL, "unknown ids"),
        (StolenModel(("q0",), torch.zeros(1, 3)), Goal.MODEL, "3 columns for 2 classes"),
        (StolenModel(("q0",), torch.tensor([[0.0, float("nan")]])), Goal.MODEL, "1 of 2 outputs are NaN"),
        (MembershipScores(("a",), torch.tensor([float("inf")])), Goal.MEMBERS, "infinite"),
        (MembershipScores(("a",), torch.tensor([0.5]), ("x", "y")), Goal.MEMBERS, "1 ids for values of the shape"),
        (EpsilonBound(float("nan"), 1e-5, 0.95), Goal.EPSILON, "NaN"),
        (EpsilonBound(1.0, 1e-5, 95.0), Goal.EPSILON, "confidence in"),
    ],
)
def test_a_guess_that_cannot_be_scored_has_its_fault_named(guess: Guess, goal: Goal, said: str) -> None:
    fault = checked(guess, goal)
    assert fault is not None
    assert re.search(said, fault)


def test_texts_that_name_no_samples_have_no_ids_and_may_be_none() -> None:
    def found(guess: TextGuess) -> str | None:
        return validate(guess, Goal.TEXTS, ids=("a",), classes=2, vocabulary=4, queries=(), linked=False)

    assert found(TextGuess((), ())) is None
    assert found(TextGuess((), ((1, 2), (3,)), (True, False))) is None
    assert "names 1 ids" in str(found(TextGuess(("a",), ((1,),))))
    assert "shape" in str(found(TextGuess((), ((1, 2), (3,)), (True,))))
    assert "outside 0 to 3" in str(found(TextGuess((), ((4,),))))


def test_ids_without_a_row_are_allowed_and_named() -> None:
    partial = LabelGuess(("b",), torch.tensor([1]))
    assert checked(partial, Goal.LABELS) is None
    assert missing(partial, ("a", "b", "c")) == ("a", "c")
