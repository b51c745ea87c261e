"""One protocol recorded and one view attacked: the same folders as an audit's, and nothing of the truth in them."""

from __future__ import annotations

import json
import shutil
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.audits import single
from sidelight.audits.names import TABLES
from sidelight.audits.sandbox import guess_files
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.single import attack_one, record_one
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.files import read_json
from sidelight.system.truth import load_truth
from sidelight.system.view import load_view

from .small import SEED, Small, installed

BRIEF = {"inverter": "plugin_attacks:BriefInverter", "search": "plugin_attacks:BriefSearch"}
"""The attacks that take minutes on texts of this length, with settings for seconds."""
SETTINGS = {"side": {"epochs": 2, "bottleneck": 4}}


@pytest.fixture(scope="module")
def out(small: Small) -> Path:
    folder = small.root / "one" / "run"
    record_one("pae", SETTINGS, folder, str(small.backbone), str(small.rows), SEED)
    return folder


@pytest.fixture
def shared(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks run in workers that are there already."""
    monkeypatch.setattr(single, "Workers", lambda: nullcontext(workers))


def test_a_recorded_run_is_whole_and_private_and_its_rows_lie_nowhere_else(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {"view", "public", "truth", "run.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert [path.name for path in out.parent.iterdir()] == ["run"]


def test_only_the_truth_holds_texts_and_seed(out: Path) -> None:
    assert (out / "truth" / "seed").read_text(encoding="utf-8").strip() == SEED
    secrets = [SEED, *(row.text for row in load_truth(out / "truth").rows)]
    for path in [path for part in ("view", "public") for path in (out / part).iterdir()]:
        assert [secret for secret in secrets if secret.encode() in path.read_bytes()] == [], path


def test_the_same_seed_records_the_same_messages(out: Path, small: Small, tmp_path: Path) -> None:
    record_one("pae", SETTINGS, tmp_path / "run", str(small.backbone), str(small.rows), SEED)
    mine, other = load_view(out / "view"), load_view(tmp_path / "run" / "view")
    ids, rows = mine.rows("difference", "difference")
    assert other.rows("difference", "difference")[0] == ids
    assert other.rows("difference", "difference")[1].equal(rows)


@pytest.mark.usefixtures("shared")
def test_a_defended_run_is_recorded_and_attacked_like_any_other(small: Small, tmp_path: Path) -> None:
    defences = {"rotate": {}, "label-dp": {"epsilon": 1.0}}
    record_one("pae", SETTINGS, tmp_path / "run", str(small.backbone), str(small.rows), SEED, defences)
    about = read_json(tmp_path / "run" / "run.json")
    assert about["label"] == "pae + rotate + label-dp (epsilon=1.0)"
    found = about["budget"].pop("audit")
    everybody = "whoever sees what crosses"
    assert about["budget"] == {"epsilon": 1.0, "delta": 0.0, "unit": "label", "against": everybody}
    assert (found["pairs"], found["confidence"], found["mu_low"]) == (10_000, 0.9975, None)
    assert 0.6 < found["epsilon_low"] <= 1.0
    assert (about["example_budget"], about["released_budget"]) == (None, None)
    ((line, whole),) = attack_one(tmp_path / "run" / "view", tmp_path / "run" / "public", "addback", tmp_path / "g")
    assert whole, line
    assert isinstance(guess_files.load(tmp_path / "g" / "addback"), LabelGuess)


@pytest.mark.usefixtures("shared")
def test_guesses_of_another_recording_are_not_overwritten(out: Path, tmp_path: Path) -> None:
    attacked = dict.fromkeys(line for line, _ in attack_one(out / "view", out / "public", "addback", tmp_path / "g"))
    assert attacked
    again = list(attack_one(out / "view", out / "public", "addback", tmp_path / "g"))
    assert all(whole for _, whole in again)
    other = shutil.copytree(out, tmp_path / "other")
    with (other / "view" / "manifest.json").open("a", encoding="utf-8") as manifest:
        manifest.write("\n")
    with pytest.raises(UsageError, match="holds guesses of another recording; give another --out"):
        list(attack_one(other / "view", other / "public", "addback", tmp_path / "g"))


@pytest.mark.usefixtures("shared")
def test_a_broken_plug_in_fails_alone(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTACKS._origins, "torn", "theirs 1.0")
    with installed(torn="no_such_package:Torn", **BRIEF):
        lines = list(attack_one(out / "view", out / "public", None, tmp_path / "g"))
        about = dict(TABLES["attacks"]())["torn"]
        with pytest.raises(UsageError, match="cannot be loaded"):
            list(attack_one(out / "view", out / "public", "torn", tmp_path / "h"))
    assert [whole for _, whole in lines].count(False) == 1
    assert lines[0][0].startswith("torn: failed: the attack 'torn' of theirs 1.0 cannot be loaded (ModuleNotFoundError")
    assert any('"attack": "addback"' in line for line, _ in lines)
    assert about.endswith("repair its package or uninstall it")


def test_where_there_is_no_main_server_the_view_of_the_one_there_is_is_recorded(small: Small, tmp_path: Path) -> None:
    settings = {"lora": {"epochs": 1, "rank": 2}, "fleet": {"devices": 2}}
    record_one("fedlora", settings, tmp_path / "run", str(small.backbone), str(small.rows), SEED)
    view = load_view(tmp_path / "run" / "view")
    assert (view.parties, "update" in view.kinds) == (frozenset({"federation"}), True)


def test_a_folder_that_exists_is_never_written_to(out: Path, small: Small) -> None:
    with pytest.raises(UsageError, match="exists already; give a folder that does not"):
        record_one("pae", SETTINGS, out, str(small.backbone), str(small.rows), SEED)


def test_a_run_that_fails_leaves_nothing(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("sidelight.audits.runs.recording.predictions", failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        record_one("pae", SETTINGS, tmp_path / "run", str(small.backbone), str(small.rows), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("shared")
def test_every_attack_that_applies_leaves_its_guess_and_the_others_say_why_not(out: Path, tmp_path: Path) -> None:
    lines = dict(zip(("sign", "plaintext", "match"), map(str, range(3)), strict=True))
    with installed(**BRIEF):
        for line, whole in attack_one(out / "view", out / "public", None, tmp_path / "guesses"):
            assert whole
            name = json.loads(line)["attack"] if line.startswith("{") else line.partition(":")[0]
            lines[name] = line
    assert lines.keys() == ATTACKS.keys()
    assert lines["plaintext"] == "plaintext: not_exposed: the adversary never receives labels"
    assert lines["match"].startswith("match: not_applicable: positions is mean")
    guess = guess_files.load(Path(json.loads(lines["sign"])["guess"]))
    assert isinstance(guess, LabelGuess)
    truth = load_truth(out / "truth")
    labels = sorted({row.label for row in truth.rows})
    right = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    assert {row.id: labels.index(row.label) for row in truth.rows} == right


@pytest.mark.usefixtures("shared")
def test_what_an_attack_prepares_is_computed_once_and_kept_beside_the_guesses(out: Path, tmp_path: Path) -> None:
    inodes = set()
    with installed(preparing="plugin_attacks:Preparing"):
        for _ in range(2):
            ((line, whole),) = attack_one(out / "view", out / "public", "preparing", tmp_path / "guesses")
            assert whole, line
            (made,) = (tmp_path / "guesses" / "prepared").glob("preparing-*/prepared.safetensors")
            inodes.add(made.stat().st_ino)
            assert isinstance(guess_files.load(tmp_path / "guesses" / "preparing"), LabelGuess)
    assert len(inodes) == 1
    assert len(list((tmp_path / "guesses" / "prepared").iterdir())) == 1


@pytest.mark.usefixtures("shared")
def test_an_attack_that_cannot_prepare_says_so(out: Path, tmp_path: Path) -> None:
    with installed(unprepared="plugin_attacks:Unprepared"):
        found = list(attack_one(out / "view", out / "public", "unprepared", tmp_path / "guesses"))
    assert found == [("unprepared: failed: ArithmeticError: nothing converges", False)]


@pytest.mark.usefixtures("shared")
def test_an_attack_that_fails_says_so(out: Path, tmp_path: Path) -> None:
    with installed(raising="plugin_attacks:Raising"):
        found = list(attack_one(out / "view", out / "public", "raising", tmp_path / "guesses"))
    assert found == [("raising: failed: ArithmeticError: the matrix is singular", False)]


@pytest.mark.usefixtures("shared")
def test_unknown_attacks_and_folders_that_are_no_view_are_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown attack 'sgin'; did you mean 'sign'"):
        list(attack_one(out / "view", out / "public", "sgin", tmp_path / "guesses"))
    with pytest.raises(UsageError, match=r"manifest\.json is missing; give a folder that `sidelight record`"):
        list(attack_one(tmp_path, out / "public", "sign", tmp_path / "guesses"))
    with pytest.raises(UsageError, match=r"public\.json is missing; give a folder that `sidelight record`"):
        list(attack_one(out / "view", tmp_path, "sign", tmp_path / "guesses"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("shared")
def test_a_folder_of_unknown_files_is_not_written_to(out: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with pytest.raises(UsageError, match="does not say whose guesses it holds; give another --out"):
        list(attack_one(out / "view", out / "public", "sign", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]
