"""Defences from a suite file to the stored rows: what is refused, what controls they bring, what a run is called."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.planning.identity import RunIdentity
from sidelight.audits.planning.naming import Inputs, name_run
from sidelight.audits.planning.plan import settle
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.suites.arrange import arrange
from sidelight.audits.suites.suite import ControlPlan, RunPlan, Suite
from sidelight.audits.suites.suite_file import load_suite
from sidelight.system import files
from sidelight.system.building import build_protocol, called, short
from sidelight.system.defences.rotate import Rotate
from sidelight.system.errors import UsageError
from sidelight.system.presets import PRESETS

from .small import PAE, Small, results, run_here

ONE = '[[runs]]\nprotocol = "pae"\n'
LABELS = 'attacks = ["sign", "addback"]\n'


def suite_of(folder: Path, content: str) -> Suite:
    path = folder / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return load_suite(str(path))


def controls(**run: Any) -> dict[str, dict[str, Any]]:
    """By name, the defences of each control of a run."""
    planned = next(arrange(Suite(runs=[RunPlan(protocol="pae", **run)])))
    return {name: one.defences for name, one in planned.controls.items()}


def named(**run: Any) -> RunIdentity:
    suite = Suite(runs=[RunPlan(protocol="pae", **run)])
    return name_run(Inputs(suite, "01", {suite.data: "02"}, "a seed"), suite.runs[0], 0)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ONE + "defences.rotat = {}\n", "unknown defence 'rotat'; did you mean 'rotate'"),
        (ONE + "defences.label-dp = { epsilom = 1 }\n", "setting of label-dp 'epsilom'; did you mean 'epsilon'"),
        (ONE + "defences.label-dp = { epsilon = 0 }\n", "the epsilon of label-dp is 0.0; give a positive number"),
        (ONE + "defences.label-dp = { epsilon = -1 }\n", "the epsilon of label-dp is -1.0; give a positive number"),
        (ONE + "defences.label-dp = { epsilon = inf }\n", "setting epsilon of label-dp is inf; give a finite number"),
        (ONE + "defences.code = { width = 0 }\n", "the width of code is 0; give at least 1"),
        (ONE + "defences.rotate = 3\n", "runs.0.defences.rotate in .*: input should be a valid dict"),
        (ONE + "defences.rotate = { revealed = true }\n", "runs.0 in .* reveals the key of rotate, which is a control"),
        (ONE + "settings = { defences = [] }\n", "defences of pae stand among its settings; give them beside"),
        ("[protocol]\ndefences = []\n" + ONE, "setting of the suite's protocols 'defences'"),
        ('[[runs]]\nprotocol = "mobillm"\ndefences.rotate = {}\n', "mobillm takes no rotate, which changes its diff"),
        ('[[runs]]\nprotocol = "local"\ndefences.label-dp = {}\n', "local takes no label-dp, which changes its labels"),
        (ONE + "controls.own.defences.rotat = {}\n", "unknown defence 'rotat'; did you mean 'rotate'"),
        (
            ONE + "controls.own.defences.label-dp = { revealed = true }\n",
            "label-dp has no key to reveal with these settings; leave revealed away",
        ),
        (ONE + "controls.own.defences = {}\n", "controls.own of .* is the run itself"),
        (ONE + 'controls.weakest.labels = "reassigned"\n', "controls.weakest of .* reassigns labels, where attacks"),
        (
            ONE + "defences.rotate = {}\ncontrols.undefended.defences.permute = {}\n",
            "controls.undefended of .* keeps defences; give it defences = {}",
        ),
        (ONE + "defences.rotate = {}\n" + ONE + "defences.rotate = {}\n", "runs.1 in .* repeats runs.0"),
        (
            ONE + "defences.label-dp = {}\n" + ONE + "defences.label-dp = { epsilon = 2 }\n",
            "runs.1 in .* repeats runs.0",
        ),
        (ONE + 'sweep."defences.rotate" = [1, 2]\n', "names no setting; give defences.DEFENCE.SETTING"),
        (
            ONE + 'sweep."defences.label-dp.epsilon" = [1, 0]\n',
            "the epsilon of label-dp is 0.0; give a positive number",
        ),
        (ONE + 'sweep."defences.lable-dp.epsilon" = [1, 2]\n', "unknown defence 'lable-dp'; did you mean 'label-dp'"),
        (ONE + "sweep.attack = [1, 2]\n", "names no setting; give attack.ATTACK.SETTING"),
    ],
)
def test_a_wrong_defence_is_refused_in_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        suite_of(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_runs_that_differ_in_their_defences_or_in_the_order_of_these_are_different(tmp_path: Path) -> None:
    both = ["defences.rotate = {}\n", "defences.scale = {}\n"]
    swept = 'sweep."defences.label-dp.epsilon" = [1, 2]\n'
    runs = ["", both[0], both[1], both[0] + both[1], both[1] + both[0]]
    assert len(suite_of(tmp_path, "".join(ONE + run for run in [*runs, *(run + swept for run in runs)])).runs) == 10


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("defences.code = {}\n", "codes take the place of logits; give difference = logit instead of probability"),
        (
            'settings = { difference = "logit" }\ndefences.code = {}\ndefences.secret-head = {}\n',
            "code has a secret head of its own; leave secret-head away",
        ),
        ("settings = { longest = 9000 }\n", "longest is 9000 and .* has [0-9]+ positions, .*; give at most [0-9]+"),
        ('threat = { candidates = "mixed" }\ndata = { non_member = 0 }\n', "there are no non_member rows to mix with"),
        (
            'threat = { challenge = "examples" }\ndata = { non_member = 0 }\n',
            "there are no non_member rows to mix with",
        ),
        ("threat = { known_labels = 500 }\n", "known_labels is 500 and the victim has 1[0-9] rows of one class"),
        (
            'sweep."data.max_classes" = [2, 900]\n',
            "a sweep asks for 900 classes and the data have [0-9]+; give smaller",
        ),
    ],
)
def test_what_only_the_data_can_tell_is_refused_before_anything_is_written(
    small: Small, tmp_path: Path, run: str, words: str
) -> None:
    request = small.request(tmp_path / "out", small.suite("unfit", ONE + LABELS + run))
    with pytest.raises(UsageError, match=words):
        settle(request, lambda line: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("settings = { cuts = [1, 2] }\n", r"device-1 is not like device-0; say in threat\.device"),
        ('settings = { cuts = [1, 2] }\nthreat = { device = "device-7" }\n', "'device-7'; give one of device-0"),
        ("settings = { fleet = { devices = 900 } }\n", "devices is 900 and there are 36 rows"),
        ('threat = { adversary = "federation" }\n', "mesfl has no federation server with these settings"),
    ],
)
def test_a_fleet_that_cannot_be_attacked_as_asked_is_refused_before_anything_is_written(
    small: Small, tmp_path: Path, run: str, words: str
) -> None:
    suite = small.suite("fleet", '[[runs]]\nprotocol = "mesfl"\n' + run)
    with pytest.raises(UsageError, match=words):
        settle(small.request(tmp_path / "out", suite), lambda line: None)
    assert not (tmp_path / "out").exists()


def test_the_example_of_the_manual_is_a_suite(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in manual.split("```toml\n")[1:]]
    [example] = [block for block in blocks if "\ndefences." in block]
    first, swept = suite_of(tmp_path, example).runs
    assert first.defences == {"rotate": {}, "label-dp": {"epsilon": 1.0}}
    assert len(swept.sweep["defences.label-dp.epsilon"]) == 5


# --- controls -------------------------------------------------------------------------------------------------------


def test_a_run_without_defences_has_no_controls_of_its_own() -> None:
    assert controls() == {}


@pytest.mark.parametrize(
    ("defences", "expected"),
    [
        ({"rotate": {}}, {"undefended": {}, "revealed": {"rotate": {"revealed": True}}}),
        ({"label-dp": {"epsilon": 1}}, {"undefended": {}, "weakest": {"label-dp": {"epsilon": 20.0}}}),
        (
            {"scale": {"spread": 2.0}},
            {
                "undefended": {},
                "revealed": {"scale": {"spread": 2.0, "revealed": True}},
                "weakest": {"scale": {"spread": 1.0}},
            },
        ),
        ({"rotate": {"per_sample": True}}, {"undefended": {}}),
    ],
)
def test_a_defended_run_has_the_controls_that_its_defences_allow(
    defences: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert controls(defences=defences) == expected


def test_of_several_defences_a_control_leaves_neither_a_key_nor_a_strength() -> None:
    found = controls(defences={"rotate": {}, "label-dp": {"epsilon": 1.0}})
    bare = {"rotate": {"revealed": True}, "label-dp": {"epsilon": 20.0}}
    assert found == {"undefended": {}, "revealed": bare, "weakest": bare}


def test_a_control_that_the_suite_names_goes_before() -> None:
    mine = {"weakest": ControlPlan(defences={"label-dp": {"epsilon": 9}})}
    found = controls(defences={"label-dp": {"epsilon": 1}}, controls=mine)
    assert found == {"undefended": {}, "weakest": {"label-dp": {"epsilon": 9.0}}}


def test_a_control_without_defences_of_its_own_has_those_of_its_run() -> None:
    mine = {"reassigned": ControlPlan(labels="reassigned")}
    assert controls(defences={"rotate": {}}, controls=mine)["reassigned"] == {"rotate": {}}


def test_every_point_of_a_sweep_has_its_controls_and_none_is_its_own() -> None:
    run = RunPlan(protocol="pae", sweep={"defences.label-dp.epsilon": [1, 20]})
    points = [one for one in arrange(Suite(runs=[run])) if one.role == "point"]
    assert [one.run.defences for one in points] == [{"label-dp": {"epsilon": 1.0}}, {"label-dp": {"epsilon": 20.0}}]
    assert [set(one.controls) for one in points] == [{"undefended", "weakest"}, {"undefended"}]


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_label_names_each_defence_with_what_differs_from_its_defaults() -> None:
    one = named(settings={"difference": "logit"}, defences={"rotate": {}, "label-dp": {"epsilon": 1}})
    assert one.label == "pae (difference=logit) + rotate + label-dp (epsilon=1.0)"
    assert named(defences={"rotate": {"revealed": True}}).label == "pae + rotate (revealed)"
    assert called("scale", {"spread": 2.0, "revealed": True}) == "scale (spread=2.0, revealed)"


def test_whatever_changes_of_a_defence_changes_the_run_and_its_group() -> None:
    defences: list[dict[str, Any]] = [
        {},
        {"rotate": {}},
        {"rotate": {"revealed": True}},
        {"scale": {}},
        {"scale": {"spread": 2}},
        {"rotate": {}, "scale": {}},
        {"scale": {}, "rotate": {}},
    ]
    runs = [named(defences=one) for one in defences]
    assert len({run.key for run in runs}) == len({run.group for run in runs}) == len(runs)
    assert named(defences={"scale": {"spread": 4}}).key == named(defences={"scale": {}}).key


def test_a_protocol_is_built_with_its_defences_in_their_order() -> None:
    made = build_protocol("pae", {"scale": 2.0}, {"scale": {}, "rotate": {"per_sample": True}})
    assert [one.name for one in made.defences] == ["scale", "rotate"]
    assert made.defences[1] == Rotate(per_sample=True)
    assert made.settings()["scale"] == 2.0
    assert short(made.defences) == {"scale": {}, "rotate": {"per_sample": True}}


# --- a whole audit --------------------------------------------------------------------------------------------------

PROMISE = {"epsilon": 1.0, "delta": 0.0, "unit": "label"}
DEFENDED = "defences.rotate = {}\ndefences.label-dp = { epsilon = 1.0 }\n"


@pytest.fixture(scope="module")
def out(small: Small, workers: Workers) -> Path:
    """One undefended and one defended run, with what the latter brings along."""
    folder = small.root / "defended"
    suite = small.suite("defended", PAE + LABELS, PAE + LABELS + DEFENDED)
    whole, said = run_here(small, folder, suite, workers)
    assert whole, [line for line in said if "FAILED" in line]
    return folder


def test_a_preset_is_called_by_its_name_as_long_as_it_says_its_defences_first() -> None:
    own = {name: dict(settings) for name, settings in PRESETS["pae-hardened"].defences.items()}
    settings = dict(PRESETS["pae-hardened"].settings)
    noise = {"noise": {"epsilon": 8.0}}
    assert named(settings=settings, defences=own).label == "pae-hardened"
    assert named(settings={**settings, "batch": 4}, defences=own).label == "pae-hardened (batch=4)"
    assert named(settings=settings, defences={**own, **noise}).label == "pae-hardened + noise (epsilon=8.0)"
    assert not named(settings=settings, defences={**noise, **own}).label.startswith("pae-hardened")
    assert named(settings=settings).label == "pae (difference=logit)"


def runs_of(out: Path) -> dict[str, dict[str, Any]]:
    stored = [files.read_json(path) for path in out.glob("runs/*/run.json")]
    return {run["label"].partition(" + ")[2]: run for run in stored}


def test_controls_of_the_same_content_are_recorded_once(out: Path) -> None:
    # the undefended control is the first row's run; revealed and weakest are one
    bare = "rotate (revealed) + label-dp (epsilon=20.0)"
    assert runs_of(out).keys() == {"", "rotate + label-dp (epsilon=1.0)", bare}


def test_a_run_says_its_defences_and_what_they_promise(out: Path) -> None:
    runs = runs_of(out)
    own = runs["rotate + label-dp (epsilon=1.0)"]
    assert own["defences"] == {
        "rotate": {"per_sample": False, "revealed": False},
        "label-dp": {"epsilon": 1.0, "revealed": False},
    }
    assert {name: own["budget"][name] for name in PROMISE} == PROMISE
    assert 0.6 < own["budget"]["audit"]["epsilon_low"] <= 1.0
    assert (runs[""]["defences"], runs[""]["budget"]) == ({}, None)


def test_a_run_says_how_much_of_a_label_the_held_side_network_must_tell(out: Path) -> None:
    for run in runs_of(out).values():
        held = run["cached"]
        assert held["rows"] == run["samples"]
        assert 0 <= held["bound"] <= held["entropy"] <= math.log(4)


def test_the_seconds_of_the_device_are_a_part_of_the_recording(out: Path) -> None:
    for run in runs_of(out).values():
        assert 0 < run["device_seconds_per_sample"] * run["samples"] < run["seconds"]


def test_only_a_revealed_run_makes_the_key_public(out: Path) -> None:
    for label, run in runs_of(out).items():
        public = files.read_json(out / "runs" / run["run"] / "public" / "public.json")
        assert public["keys"] is ("revealed" in label)


def test_every_row_carries_its_defence_its_budget_its_controls_and_its_price(out: Path) -> None:
    rows = [row for row in results(out) if row["role"] == "row" and row["metric"] == "accuracy"]
    plain = [row for row in rows if row["defence"] is None]
    defended = [row for row in rows if row["defence"] is not None]
    assert len(plain) == len(defended) == 4  # two attacks, their composite, the best of them
    for row in plain:
        assert (row["epsilon"], row["price"], row["controls"]) == (None, None, {})
    for row in defended:
        assert row["defence"] == {"rotate": {}, "label-dp": {"epsilon": 1.0}}
        assert {name: row["epsilon"][name] for name in PROMISE} == PROMISE
        assert row["controls"].keys() == {"undefended", "revealed", "weakest"}
        assert row["device_seconds_per_sample"] > 0
    signs = {row["defence"] is None: row for row in rows if row["attack"] == "sign"}
    assert signs[False]["controls"]["undefended"]["value"] == signs[True]["value"]


def test_the_stored_price_is_what_the_two_models_get_right(out: Path) -> None:
    groups = [json.loads(line) for line in (out / "groups.jsonl").read_text(encoding="utf-8").splitlines()]
    plain, defended = (
        next(g for g in groups if g["role"] == "row" and (" + " in g["label"]) is d) for d in (False, True)
    )
    price = defended["price"]
    assert plain["price"] is None
    assert price["undefended"]["group"] == plain["group"]
    assert price["undefended"]["utility"] == pytest.approx(plain["utility"]["value"])
    assert price["defended"]["utility"] == pytest.approx(defended["utility"]["value"])
    lost = price["utility_loss"]
    assert lost["value"] == pytest.approx(plain["utility"]["value"] - defended["utility"]["value"])
    assert lost["low"] <= lost["value"] <= lost["high"]
    assert (lost["n"], lost["victims"]) == (30, [0])
