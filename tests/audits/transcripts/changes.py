"""Changes to a recording, each of which breaks it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import load_file, save_file

from sidelight.audits.given.reading import Folders

Change = Callable[[Folders], object]
LINES, SHARD = "view/messages.jsonl", "view/shard-00000.safetensors"
PUBLIC, FACTS, ROWS = "public/public.json", "public/public.json facts", "truth/rows.jsonl"


def at(copy: Folders, name: str) -> Path:
    return copy.view.parent / name


def put(name: str, **fields: Any) -> Change:
    """Fields of an object, `...` for absent; behind `FILE facts` those of its facts."""

    def change(copy: Folders) -> None:
        file, _, inner = name.partition(" ")
        path = at(copy, file)
        stored = json.loads(path.read_text(encoding="utf-8"))
        inside = stored[inner] if inner else stored
        inside.update(fields)
        for gone in [field for field, value in fields.items() if value is ...]:
            del inside[gone]
        path.write_text(json.dumps(stored), encoding="utf-8")
        if inner:  # a manifest need not repeat facts
            manifest = json.loads((copy.view / "manifest.json").read_text(encoding="utf-8"))
            (copy.view / "manifest.json").write_text(json.dumps({**manifest, "facts": {}}), encoding="utf-8")

    return change


def line(number: int, name: str = LINES, **fields: Any) -> Change:
    """Fields of a line, from 1."""

    def change(copy: Folders) -> None:
        lines = [json.loads(one) for one in at(copy, name).read_text(encoding="utf-8").splitlines()]
        lines[number - 1].update(fields)
        for gone in [field for field, value in fields.items() if value is ...]:
            del lines[number - 1][gone]
        at(copy, name).write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")

    return change


def tensors(name: str, **changed: Any) -> Change:
    """Tensors by names in which __ stands for a slash; None takes one away, a function changes it."""

    def change(copy: Folders) -> None:
        stored = load_file(at(copy, name)) if at(copy, name).exists() else {}
        for key, value in ((key.replace("__", "/").lstrip("_"), value) for key, value in changed.items()):
            if value is None:
                del stored[key]
            else:
                stored[key] = value(stored.get(key)) if callable(value) else value
        save_file(stored, at(copy, name))

    return change


def text(name: str, said: str) -> Change:
    return lambda copy: at(copy, name).write_text(said, encoding="utf-8")


def gone(name: str) -> Change:
    return lambda copy: at(copy, name).unlink()


def all_of(*changes: Change) -> Change:
    return lambda copy: [change(copy) for change in changes]


def spoilt(values: numpy.ndarray) -> numpy.ndarray:
    values[0, 0] = numpy.nan
    return values


def linked(name: str) -> Change:
    def change(copy: Folders) -> None:
        path = at(copy, name)
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))

    return change


def piped(name: str) -> Change:
    """A pipe that nobody writes to, from which reading would wait for ever."""

    def change(copy: Folders) -> None:
        at(copy, name).unlink(missing_ok=True)
        os.mkfifo(at(copy, name))

    return change
