"""A guess on its way from a worker to the harness: JSON and safetensors, read as what a stranger wrote.

`guess.json` names the type and the ids, `guess.safetensors` holds the rest.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ...attacks.attack import EpsilonBound, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from ...system import files, folder
from ...system.errors import SidelightError

INDEX, TENSORS = "guess.json", "guess.safetensors"
LARGEST_INDEX, LARGEST_TENSORS = 64 << 20, 1 << 30
"""Bytes."""

Tensors = Mapping[str, torch.Tensor]


class GuessError(SidelightError):
    """A guess that is not one; the message says why."""


def save(guess: Guess, scratch: Path) -> None:
    """Write a guess into a folder; GuessError where it is none of the five types."""
    tensors = _tensors(guess)
    folder.write_tensors(scratch / TENSORS, tensors)
    ids = list(guess.ids) if not isinstance(guess, EpsilonBound) else []
    owners = list(guess.owners) if isinstance(guess, MembershipScores) else []
    files.write_json(scratch / INDEX, {"type": type(guess).__name__, "ids": ids, "owners": owners})


def load(scratch: Path) -> Guess:
    """The guess in a folder; GuessError names what is wrong with it.

    Links, pipes and oversized files are refused: the writer may have planted one that leads to the truth.
    """
    index = read_json(scratch / INDEX, LARGEST_INDEX)
    named = isinstance(index, dict) and all(_strings(index.get(part, [])) for part in ("ids", "owners"))
    well_formed = named and "ids" in index and _strings([index.get("type")])
    if not well_formed or index["type"] not in _READERS:
        raise GuessError(f"{INDEX} is malformed: it must hold a type of guess and a list of ids")
    try:
        tensors = load_tensors(read_regular(scratch / TENSORS, LARGEST_TENSORS))
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a data type that torch does not have
        raise GuessError(f"{TENSORS} is malformed: {type(error).__name__}") from None
    guess = _READERS[index["type"]](tuple(index["ids"]), tensors)
    return replace(guess, owners=tuple(index.get("owners", ()))) if isinstance(guess, MembershipScores) else guess


def read_regular(path: Path, most: int) -> bytes:
    """A file's content; GuessError unless it is a plain file with one name and at most `most` bytes."""
    with open_regular(path, most) as file:
        return file.read(most)


@contextmanager
def open_regular(path: Path, most: int) -> Iterator[IO[bytes]]:
    """A file to read; GuessError unless it is a plain file with one name and at most `most` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise GuessError(f"the attack left no {path.name}") from None
        raise GuessError(f"{path.name} is not a plain file ({error.strerror})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise GuessError(f"{path.name} is not a plain file of its own")
        if status.st_size > most:
            raise GuessError(f"{path.name} has {status.st_size} bytes; at most {most} are read")
        with open(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def read_json(path: Path, most: int) -> Any:
    """The JSON value of a plain file; GuessError where there is none."""
    try:
        return json.loads(read_regular(path, most))
    except (ValueError, RecursionError):
        raise GuessError(f"{path.name} is not valid JSON") from None


def _tensors(guess: Guess) -> dict[str, torch.Tensor]:
    match guess:
        case LabelGuess():
            return {"labels": guess.labels}
        case TextGuess():
            return _text_tensors(guess)
        case StolenModel():
            return {"outputs": guess.outputs}
        case MembershipScores():
            return {"scores": guess.scores}
        case EpsilonBound():
            return {"bound": torch.tensor([guess.epsilon, guess.delta, guess.confidence], dtype=torch.float64)}
    raise GuessError(f"the attack returned {type(guess).__name__}; it must return one of {', '.join(_READERS)}")


def _text_tensors(guess: TextGuess) -> dict[str, torch.Tensor]:
    flat = [int(token) for row in guess.tokens for token in row]
    return {
        "tokens": torch.tensor(flat, dtype=torch.int64),
        "lengths": torch.tensor([len(row) for row in guess.tokens], dtype=torch.int64),
        "certified": torch.tensor(guess.certified, dtype=torch.bool),
    }


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _taken(tensors: Tensors, name: str, dtype: torch.dtype, dimensions: int = 1) -> torch.Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise GuessError(f"the guess holds no {name}")
    if tensor.dtype != dtype:
        raise GuessError(f"{name} must be {_short(dtype)}, not {_short(tensor.dtype)}")
    if tensor.dim() != dimensions:
        raise GuessError(f"{name} must have {dimensions} dimensions, not the shape {tuple(tensor.shape)}")
    return tensor


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _labels(ids: tuple[str, ...], tensors: Tensors) -> LabelGuess:
    return LabelGuess(ids, _taken(tensors, "labels", torch.int64))


def _texts(ids: tuple[str, ...], tensors: Tensors) -> TextGuess:
    flat, lengths = _taken(tensors, "tokens", torch.int64), _taken(tensors, "lengths", torch.int64)
    # each length is bounded before the sum, which could overflow
    if ((lengths < 0) | (lengths > len(flat))).any() or int(lengths.sum()) != len(flat):
        raise GuessError(f"the lengths of the texts do not add up to the {len(flat)} tokens")
    rows = tuple(tuple(row.tolist()) for row in flat.split(lengths.tolist())) if len(lengths) else ()
    return TextGuess(ids, rows, tuple(_taken(tensors, "certified", torch.bool).tolist()))


def _model(ids: tuple[str, ...], tensors: Tensors) -> StolenModel:
    return StolenModel(ids, _taken(tensors, "outputs", torch.float32, dimensions=2))


def _members(ids: tuple[str, ...], tensors: Tensors) -> MembershipScores:
    return MembershipScores(ids, _taken(tensors, "scores", torch.float32))


def _bound(_ids: tuple[str, ...], tensors: Tensors) -> EpsilonBound:
    bound = _taken(tensors, "bound", torch.float64).tolist()
    if len(bound) != 3:
        raise GuessError("a bound must hold epsilon, delta and confidence")
    return EpsilonBound(*bound)


_READERS: dict[str, Callable[[tuple[str, ...], Tensors], Guess]] = {
    "LabelGuess": _labels,
    "TextGuess": _texts,
    "StolenModel": _model,
    "MembershipScores": _members,
    "EpsilonBound": _bound,
}
