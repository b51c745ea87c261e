"""What somebody else's recorder may get wrong: each is one sentence that names the place and what would be right."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy
import pytest

from sidelight.audits.given.reading import Folders, read
from sidelight.system import files
from sidelight.system.errors import UsageError

from .changes import (
    FACTS,
    LINES,
    PUBLIC,
    ROWS,
    SHARD,
    Change,
    all_of,
    gone,
    line,
    linked,
    piped,
    put,
    spoilt,
    tensors,
    text,
)

LENGTHS = numpy.array([1, 1, 1, 1, 1, 2], dtype=numpy.int64)
PACKED = all_of(line(1, tensors=["activations", "lengths"]), put(FACTS, positions="all"))

BROKEN: dict[str, tuple[Change, str]] = {
    # the manifest
    "no manifest": (gone("view/manifest.json"), r"manifest\.json is missing"),
    "a manifest that is a list": (text("view/manifest.json", "[]"), r"manifest\.json holds no JSON object; give one"),
    "no parties": (put("view/manifest.json", parties=...), "has no parties; give a list of different names of part"),
    "parties of no list": (put("view/manifest.json", parties="server"), "parties is a text; give a list of different"),
    "a party that is not named": (line(1, receiver="proxy"), "line 1: neither its sender nor its receiver is one of"),
    "nested without end": (text("view/manifest.json", "[" * 100_000), "is nested too deeply to be read"),
    "held, and no tensor": (put("view/manifest.json", held=["notes", "tuned"]), "holds no tensor of 'tuned', which m"),
    "a tensor that nobody holds": (put("view/manifest.json", held=[]), "holds 'notes/weight', which begins with no it"),
    "facts that differ": (put("view/manifest.json", facts={"layers": [1, 3]}), "say different things of layers; say"),
    # messages
    "no messages": (gone(LINES), r"messages\.jsonl is missing; give one message a line"),
    "an empty transcript": (
        all_of(text(LINES, ""), gone(SHARD), gone("view/shard-00001.safetensors"), gone("view/held.safetensors"),
               put("view/manifest.json", held=[])),
        "holds no message, and nothing is held; give one a line",
    ),
    "tensors without lines": (text(LINES, "\n\n"), "shard-00000.* holds tensors that no line of messages.jsonl names"),
    "no JSON": (text(LINES, "{\n"), r"messages\.jsonl line 1 is not valid JSON"),
    "a line that is a list": (text(LINES, "[]\n"), "line 1 is a list without anything in it; give an object"),
    "no kind": (line(2, kind=...), "line 2 has no kind; give letters, digits and"),
    "a kind of no text": (line(2, kind=3), "line 2: kind is 3; give letters, digits"),
    "a round of no number": (line(2, round="0"), "line 2: round is a text; give a whole number from 0 up"),
    "a round that is NaN": (line(2, round=math.nan), "line 2: round is no finite number; give a whole number"),
    "an unknown precision": (line(2, precision="fp8"), "line 2: precision is 'fp8'; give \"fp32\" or"),
    "ids of no list": (line(1, ids="abc"), "line 1: ids is a text; give a list of texts"),
    "an id twice": (line(1, ids=["a"] * 6), "line 1: an id stands twice in one message; give each sample once"),
    "an empty id": (line(1, ids=[""]), "line 1: an id has no character or more than 128"),
    "fewer ids than rows": (line(1, ids=["a"]), r"line 1: 'activations' has 6 rows and there are 1 ids; give a row"),
    "a tensor that is not there": (line(1, tensors=["activations", "b"]), r"names the tensor 'b', and shard-00000\.sa"),
    "a name with a slash": (line(1, tensors=["../a"]), "line 1: tensors are not named by different letters"),
    "tensors in no line": (line(1, kind="x", tensors=[]), "holds 1 tensors that no line of messages.jsonl names"),
    "a kind without its tensor": (line(1, kind="labels"), "line 1 is of the kind 'labels' without its tensors; give"),
    "a shard out of range": (line(13, shard=9, tensors=["a"]), r"line 13 names shard 9, and there is no shard-00009"),
    "a shard that is a path": (line(1, shard="../../etc/passwd"), "line 1: shard is a text; give a whole number f"),
    "shards out of order": (line(8, shard=0), "line 8 names shard 0 behind shard 1; store messages in the order"),
    "a shard that no line names": (tensors("view/shard-00007.safetensors", a=LENGTHS), "shard-00007.* that no line"),
    "a pipe": (piped(LINES), r"messages\.jsonl is no file; give one, as docs/transcripts.md shows"),
    "a pipe for a manifest": (piped("view/manifest.json"), r"manifest\.json is no file; give one"),
    "a pipe for auxiliary rows": (piped("public/auxiliary.jsonl"), r"auxiliary\.jsonl is no file; give one"),
    "a link for public.json": (linked(PUBLIC), r"public\.json is a link, which attacks cannot follow; put the file"),
    "a pipe for traffic": (piped("run.json"), r"run\.json is no file; give one"),
    # tensors
    "no safetensors": (text(SHARD, "no tensors at all"), r"shard-00000\.safetensors is no whole safetensors file"),
    "a link": (linked(SHARD), r"shard-00000\.safetensors is a link, which attacks cannot follow; put the file"),
    "not a number": (tensors(SHARD, _1__difference=spoilt), "'1/difference' holds a value that is no finite number"),
    "half precision": (
        tensors(SHARD, _1__difference=lambda t: t.astype(numpy.float16)),
        "'1/difference' has the type F16; give F32 for numbers, as their receiver read them",
    ),
    "whole numbers": (
        tensors(SHARD, _1__difference=lambda t: t.astype(numpy.int64)),
        "line 2: 'difference' is I64; give F32",
    ),
    "no layers": (
        tensors(SHARD, _0__activations=lambda t: t[:, 0].copy()),
        r"line 1: 'activations' has the shape \(6, 4\); give \(N or P, L, d\)",
    ),
    "rows of two shapes": (
        tensors(SHARD, _3__activations=lambda t: t[:, :, :2].copy()),
        r"line 4: a row of 'activations' has the shape \(2, 2\), and \(2, 4\) in line 1",
    ),
    "lengths that do not add up": (
        all_of(PACKED, tensors(SHARD, _0__lengths=LENGTHS)),
        "line 1: 'activations' has 6 rows and lengths add up to 7",
    ),
    "a length of zero": (
        all_of(PACKED, tensors(SHARD, _0__lengths=LENGTHS - 1)),
        "line 1: 'lengths' holds 0; give at least 1 for each id",
    ),
    "lengths of no ids": (
        all_of(PACKED, tensors(SHARD, _0__lengths=LENGTHS[:2])),
        r"line 1: 'lengths' is I64 of the shape \(2,\); give a whole number for each of the 6 ids",
    ),
    "lengths of one position": (
        all_of(line(1, tensors=["activations", "lengths"]), tensors(SHARD, _0__lengths=LENGTHS.clip(0, 1))),
        'activations have `lengths`, so that all positions cross; say "positions": "all"',
    ),
    # public knowledge
    "no public.json": (gone(PUBLIC), r"public\.json is missing"),
    "no labels": (put(PUBLIC, labels=...), "has no labels; give a list of at least two different texts"),
    "labels twice": (put(PUBLIC, labels=["a", "a", "b"]), "labels is a list of [13]; give a list of at least two"),
    "one label": (put(PUBLIC, labels=["a"]), "labels is a list of [13]; give a list of at least two"),
    "facts of no object": (put(PUBLIC, facts=[1]), "facts is a list of 1; give an object"),
    "a head that is not there": (gone("public/head.safetensors"), "head is true and there is no head.safetensors"),
    "a head that nobody names": (put(PUBLIC, head=False), "head is not true and there is head.safetensors; say true"),
    "a head of other classes": (
        tensors("public/head.safetensors", weight=lambda t: t[:2].copy()),
        r"holds 'weight' of F32 and the shape \(2, 4\); give 'weight' of F32 and the shape \(3, the width of the",
    ),
    "a head of another width": (
        put(PUBLIC, backbone="sidelight-tiny"),
        r"the shape \(3, 4\); give 'weight' of F32 and the shape \(3, 192\): classes, width",
    ),
    "states of another width": (
        all_of(gone("public/head.safetensors"), put(PUBLIC, backbone="sidelight-tiny", head=False)),
        "activations are 4 wide and the backbone is 192 wide; give its own states",
    ),
    "a backbone that cannot be loaded": (
        put(PUBLIC, backbone="/no/such/folder"),
        r"public\.json: backbone is wrong: the backbone folder /no/such/folder does not exist; give a folder, a hub id",
    ),
    "priors that add up to 2": (put(PUBLIC, priors=[1, 0.5, 0.5]), "priors are 3 numbers that add up to 2; give 3, o"),
    "priors that are NaN": (put(PUBLIC, priors=[math.nan, 1, 0]), "priors is a list of 3; give a list of numbers"),
    "a target that never crossed": (put(PUBLIC, targets=["elsewhere"]), "1 of the 1 ids under targets never crossed"),
    "known, and never crossed": (
        put(PUBLIC, known=[{"id": "elsewhere", "label": "amber"}]),
        "1 of the 1 ids under known never crossed; give ids that messages name",
    ),
    "a known label that is none": (
        put(PUBLIC, known=[{"id": "a", "label": "oak"}]),
        "known, entry 0: its label is none of the 3 labels of public.json; give one of them",
    ),
    "an auxiliary label that is none": (
        line(2, "public/auxiliary.jsonl", label="oak"),
        r"auxiliary\.jsonl line 2: its label is none of the 3 labels",
    ),
    "an auxiliary row without text": (line(2, "public/auxiliary.jsonl", text=...), "line 2 has no text; give a text"),
    "queries twice": (line(2, "public/queries.jsonl", id=f"{99:016x}"), "queries names an id twice; give each once"),
    # facts
    "a fact of another type": (put(FACTS, longest="8"), "facts: longest is a text; give a whole number from 1 up"),
    "an unknown selector": (put(FACTS, selector="best"), "facts: selector is 'best'; give \"last\" or"),
    "layers out of order": (put(FACTS, layers=[2, 1]), "facts: layers is a list of 2; give a list of block numbers"),
    "other layers than cross": (put(FACTS, layers=[1, 2, 3]), "activations have 2 layers a position and .* 3 layers"),
    "no fact on a difference": (put(FACTS, difference=...), "facts has no difference and a difference crosses; give a"),
    "a logit without its scale": (put(FACTS, difference="logit"), "has no scale and the difference is of logits; give"),
    "more labels than values": (
        all_of(
            gone("public/head.safetensors"),
            put(PUBLIC, labels=["amber", "birch", "cedar", "oak"], head=False, priors=[]),
        ),
        "a difference has 3 values a sample and .* names 4 labels; give one for each, or name the defence",
    ),
    "no fact on texts": (
        all_of(put(FACTS, prompt=...), put(PUBLIC, relative="sidelight-tiny")),
        "facts has no prompt and there is a backbone to read texts with; give a text: what the device puts behind",
    ),
    "half of a defence": (put(FACTS, defences={"label-dp": {}}), "label-dp is a defence of Sidelight's and has no"),
    "a number that is none": (put(FACTS, of_mine=[math.inf]), "of_mine holds a number that is not finite; give a fin"),
    # the truth
    "no rows": (gone(ROWS), r"rows\.jsonl is missing; give the id, text and label of a sample a line"),
    "empty rows": (text(ROWS, ""), r"rows\.jsonl holds no row; give one a line"),
    "other ids": (
        text(ROWS, json.dumps({"id": "elsewhere", "label": "amber"}) + "\n"),
        r"no id in .*rows\.jsonl crossed; give the ids that messages\.jsonl names",
    ),
    "a true label that is none": (line(3, ROWS, label="oak"), r"rows\.jsonl line 3: its label is none of the 3 labels"),
    "a row twice": (line(3, ROWS, id="0" * 15 + "b"), r"rows\.jsonl line \d+ has the id of a line before"),
    "labels of some rows": (line(3, ROWS, label=...), "line 3 has no label and 23 other lines have; give it in all"),
    "tokens that are texts": (line(3, ROWS, tokens=["a"]), "line 3: tokens is a list of 1; give a list of whole"),
    "slots of other tokens": (line(3, ROWS, slots=[True]), "line 3 has 1 slots and 2 tokens; give one for each token"),
    "a span beyond its text": (line(3, ROWS, spans=[{"start": 4, "end": 99}]), "spans, entry 0 is no part of its text"),
    "outputs of other queries": (
        tensors("truth/outputs.safetensors", outputs=lambda t: t[:3].copy()),
        r"'outputs' is F32 of the shape \(3, 3\); give F32 of the shape \(4, 3\): queries of queries\.jsonl in public/",
    ),
    "queries in another order": (put("truth/queries.json", ids=["a"] * 4), "ids are not those of queries.jsonl in pub"),
    "members of nobody": (
        put("truth/members.json", members={"a": "device-0"}),
        "names an id that is none of challenge.jsonl in public/; give its ids",
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_wrong_is_named_in_one_sentence(copy: Folders, broken: str) -> None:
    change, said = BROKEN[broken]
    change(copy)
    with pytest.raises(UsageError) as refused:
        read(copy)
    sentence = str(refused.value)
    assert re.search(said, sentence), sentence
    assert "\n" not in sentence
    assert len(sentence) < 500


def test_the_recording_that_is_broken_here_is_right(copy: Folders) -> None:
    assert len(read(copy).told.truth.rows) == 24


def test_a_line_without_end_is_not_read(copy: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 100)
    with pytest.raises(UsageError, match="line 1 has more than 100 bytes; give shorter lines"):
        read(copy)


@pytest.mark.parametrize("folder", ["view", "public", "truth"])
def test_a_folder_that_is_none_is_refused(copy: Folders, folder: str, tmp_path: Path) -> None:
    elsewhere = {"view": copy.view, "public": copy.public, "truth": copy.truth, folder: tmp_path / "none"}
    with pytest.raises(UsageError, match="none is no folder; give the folder"):
        read(Folders(**elsewhere))
