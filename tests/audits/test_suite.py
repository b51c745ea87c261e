"""Suites: the ones that come with the package, one's own file, and every way in which one may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.attacks import ATTACKS
from sidelight.audits.suites.suite import Suite
from sidelight.audits.suites.suite_file import BUILT_IN, load_suite
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.presets import PRESETS
from sidelight.system.protocols import PROTOCOLS
from sidelight.system.settings import build

ONE_RUN = '[[runs]]\nprotocol = "pae"\n'


def own(folder: Path, content: str) -> str:
    path = folder / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_suite_has_settings_that_its_protocols_take(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    for run in suite.runs:
        build(PROTOCOLS[run.protocol], {**suite.shared(run), **run.settings}, run.protocol)


def test_quick_scores_enough_rows_of_every_protocol() -> None:
    suite = load_suite("quick")
    assert suite.data.victim_train >= 300
    assert suite.data.texts >= 50
    assert {run.protocol for run in suite.runs} == {"local", "pae", "mobillm", "split"}


def test_ones_own_file_is_named_by_its_stem_and_may_leave_everything_but_runs_away(tmp_path: Path) -> None:
    suite = load_suite(own(tmp_path, ONE_RUN))
    assert suite == Suite(name="mine", runs=suite.runs)
    assert [run.protocol for run in suite.runs] == ["pae"]


def test_shared_settings_reach_the_protocols_that_have_them(tmp_path: Path) -> None:
    content = '[protocol]\nlongest = 9\nprecision = "fp16"\n' + ONE_RUN + '[[runs]]\nprotocol = "local"\n'
    suite = load_suite(own(tmp_path, content))
    pae, local = suite.runs
    assert suite.shared(pae) == {"longest": 9, "precision": "fp16"}
    assert suite.shared(local) == {"longest": 9}


def test_an_attack_without_cells_is_left_out_of_all(tmp_path: Path) -> None:
    [run] = load_suite(own(tmp_path, ONE_RUN + "vary = { search = [], match = [{ round = 1 }] }\n")).runs
    attacked = dict(run.attacked())
    assert "search" not in attacked
    assert attacked["match"] == {"round": 1}
    assert len(attacked) == len(ATTACKS) - 1


def test_a_preset_is_its_protocol_with_settings_and_defences_under_what_the_run_says(tmp_path: Path) -> None:
    asked = "settings.side.epochs = 3\ndefences.noise.epsilon = 2.0\n"
    [run] = load_suite(own(tmp_path, '[[runs]]\nprotocol = "pae-hardened"\n' + asked)).runs
    preset = PRESETS["pae-hardened"]
    assert run.protocol == preset.protocol
    assert run.settings == {**preset.settings, "side": {"epochs": 3}}
    assert list(run.defences.items()) == [*preset.defences.items(), ("noise", {"epsilon": 2.0})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[[runs]]\nprotocol = "pae-hardend"\n', "unknown protocol 'pae-hardend'; did you mean 'pae-hardened'"),
        ('[[runs]]\nprotocol = "pea"\n', "unknown protocol 'pea'; did you mean 'pae'"),
        (ONE_RUN + 'attacks = ["sgn"]\n', "unknown attack 'sgn'; did you mean 'sign'"),
        (ONE_RUN + "vary.macth = [{}]\n", "unknown attack 'macth'; did you mean 'match'"),
        (ONE_RUN + "settings = { side = { epoch = 2 } }\n", "setting of pae.side 'epoch'; did you mean 'epochs'"),
        (ONE_RUN + "vary.match = [{ rounds = 2 }]\n", "setting of match 'rounds'; did you mean 'round'"),
        ("[protocol]\nselectr = 'mean'\n" + ONE_RUN, "protocols 'selectr'; did you mean 'selector'"),
        ("[protocol]\nselector = 'middle'\n" + ONE_RUN, "setting selector of pae is 'middle'"),
        ("[threat]\nadversary = 'relay'\n" + ONE_RUN, "setting adversary of threat is 'relay'"),
        ("[threat]\nbackbne = 'private'\n" + ONE_RUN, "setting of threat 'backbne'; did you mean 'backbone'"),
        ("[data]\nvictim_trian = 9\n" + ONE_RUN, "'victim_trian'; did you mean 'victim_train'"),
        ("[limits]\nsecnds = 9\n" + ONE_RUN, "'secnds'; did you mean 'seconds'"),
        ("victms = 3\n" + ONE_RUN, "'victms'; did you mean 'victims'"),
        ('[[runs]]\nprotocl = "pae"\n', "(runs.0.protocol in .*: field required|'protocl'; did you mean 'protocol')"),
        (ONE_RUN + "setings = {}\n", "'setings'; did you mean 'settings'"),
        ('[data]\ntexts = "many"\n' + ONE_RUN, "data.texts in .*mine.toml: input should be a valid integer"),
        ("[data]\ntexts = 0\n" + ONE_RUN, "data.texts in .*: input should be greater than or equal to 1"),
        ("victims = 0\n" + ONE_RUN, "victims in .*: input should be greater than or equal to 1"),
        ("name = 'empty'\n", "runs in .*: field required"),
        ("runs = []\n", "runs in .*: list should have at least 1 item"),
        ("runs = [\n", "is not valid TOML"),
        (ONE_RUN + ONE_RUN, "runs.1 in .* repeats runs.0"),
        (ONE_RUN + ONE_RUN + "settings = { batch = 16 }\n", "runs.1 in .* repeats runs.0"),
        (ONE_RUN + 'attacks = ["sign", "sign"]\n', "name one attack twice"),
        (ONE_RUN + "vary.match = [{}, { round = 0 }]\n", "vary.match of runs.0 in .* repeats a cell"),
        (ONE_RUN + 'attacks = ["match"]\nvary.match = []\n', "vary of runs.0 in .* leaves no attack"),
        (ONE_RUN + 'attacks = ["sign"]\nvary.match = [{}]\n', "has 'match', which is none of its attacks"),
        (ONE_RUN + "attacks = []\n", "attacks of runs.0 in .* is empty; name at least one"),
        (ONE_RUN + "sweep.longst = [8, 16]\n", "setting of pae 'longst'; did you mean 'longest'"),
        (ONE_RUN + "sweep.longest = [8]\n", "sweep.longest of runs.0 in .* needs at least two values, each once"),
        (ONE_RUN + "sweep.longest = [8, 8]\n", "needs at least two values, each once"),
        (ONE_RUN + "sweep.scale = [1.0, nan]\n", "setting scale of the sweep of runs.0 in .* is nan; give a finite"),
        (ONE_RUN + "sweep.side.epochs = [1, 2]\n", 'quote a dotted name, as in sweep."side.epochs"'),
        (ONE_RUN + "sweep.longest = [8, 16]\nsweep.scale = [1, 2]\n", "varies 2 settings; give one"),
        (ONE_RUN + 'sweep."attack.macth.widest" = [1, 2]\n', "unknown attack 'macth'; did you mean 'match'"),
        (ONE_RUN + 'attacks = ["sign", "match"]\nsweep."attack.match.widest" = [1, 2]\n', "runs match alone"),
        (ONE_RUN + 'sweep."data.max_clases" = [4, 8]\n', "'max_clases'; did you mean 'max_classes'"),
        (2 * (ONE_RUN + "sweep.longest = [8, 16]\n"), "runs.1 in .* repeats runs.0"),
        (
            ONE_RUN + "controls.own.settings = { batch = 16 }\n",
            "controls.own of .* is the run itself",
        ),
        (ONE_RUN + "controls.own.setings = {}\n", "'setings'; did you mean 'settings'"),
        (ONE_RUN + 'labels = "reassigned"\n', "reassigns labels, which is a control; give controls.NAME.labels"),
        ("[data]\nrandom_labels = 2\n" + ONE_RUN, "data.random_labels in .*: input should be less than 1"),
    ],
)
def test_a_wrong_suite_is_refused_in_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_suite(own(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_suite_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown suite 'quik'; did you mean 'quick'"):
        load_suite("quik")


def test_a_missing_file_and_one_that_is_not_utf_8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml does not exist"):
        load_suite(str(tmp_path / "absent.toml"))
    (tmp_path / "latin.toml").write_bytes('name = "é"\n'.encode("latin-1"))
    with pytest.raises(UsageError, match="is not valid TOML"):
        load_suite(str(tmp_path / "latin.toml"))
