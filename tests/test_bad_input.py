"""Wrong usage and wrong input: exit status 2, one sentence that names what was wrong, and nothing written."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import numpy
import pytest

from sidelight.audits.planning import plan
from sidelight.audits.planning.naming import Request
from sidelight.audits.suites.suite_file import load_suite
from sidelight.system import command
from sidelight.system.data import load
from sidelight.system.data.trained_on import TRAINED_ON

from .contracts.micro import make_micro

GOOD = [{"text": f"message number {word}", "label": at % 2} for at, word in enumerate("one two three four".split())]


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    said: str


class Typed:
    """Runs command lines in this process, in an empty folder."""

    def __init__(self, here: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.here, self._captured = here, captured

    def __call__(self, *arguments: object) -> Ended:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["sidelight", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                command.main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *self._captured.readouterr())

    def refused(self, *arguments: object) -> str:
        """The sentence against a command line, which leaves everything as it was."""
        before = sorted(self.here.rglob("*"))
        ended = self(*arguments)
        assert ended.status == 2
        assert ended.said.startswith("sidelight: ")
        assert ended.said.count("\n") == 1
        assert sorted(self.here.rglob("*")) == before
        return ended.said.removeprefix("sidelight: ").rstrip("\n")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.chdir(tmp_path)
    return Typed(tmp_path, capfd)


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone that loads at once."""
    return make_micro(tmp_path_factory.mktemp("micro")).folders["opt"]


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused before the first attack needs none."""

    class Idle:
        """Workers that are never asked."""

        def __init__(self, **_: Any) -> None:
            self.sandbox = "none"

        def __enter__(self) -> Idle:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("sidelight.audits.executors.cores.Workers", Idle)


def jsonl(folder: Path, *records: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("record pea --out o", "unknown protocol 'pea'; did you mean 'pae'?"),
        ("record pae --out o --set selectr=mean", "unknown setting of pae 'selectr'; did you mean 'selector'?"),
        ("record pae --out o --set side.epoch=3", "unknown setting of pae.side 'epoch'; did you mean 'epochs'?"),
        ("record pae --out o --set selector=middle", "setting selector of pae is 'middle': "),
        ("record pae --out o --set selector", "'selector' is no setting; give NAME=VALUE"),
        ("record pae --out o --backbone sidelight-tyni", "unknown backbone 'sidelight-tyni'; did you mean"),
        ("record pae --out o --data mesages", "unknown data 'mesages'; did you mean 'messages'?"),
        ("attack view --public public --attack sgin", "unknown attack 'sgin'; did you mean 'sign'?"),
        ("attack view --public public", "view is no folder; give the folder of a view, which holds manifest.json"),
        ("audit quik", "unknown suite 'quik'; did you mean 'quick'?"),
        ("audit mine.toml", "the suite file mine.toml does not exist; give "),
        ("audit --executor proceses", "unknown executor 'proceses'; did you mean 'processes'?"),
        ("audit --seeds 0", "'--seeds'"),
        ("audit --seeds many", "'--seeds'"),
        ("audit --sede x", "--sede"),
        ("audit --out", "--out"),
        ("audti", "no such command 'audti'; did you mean 'audit'?"),
        ("tune --server nowhere --out o", "'nowhere' is no address; give HOST:PORT"),
        ("tune --server localhost:1 --out o --protocol pea", "unknown protocol 'pea'; did you mean 'pae'?"),
        ("tune --server localhost:1 --out o --protocol local", "local runs in one process only"),
        ("tune --server localhost:1 --out o --protocol fedmobillm", "fedmobillm runs in one process only"),
        ("tune --server localhost:1 --out o --token-file t", "the file t does not exist; give one that does"),
        ("tune --server localhost:1 --out o --tls-cert t", "the file t does not exist; give one that does"),
        ("tune --server localhost:1 --out o --test-share 2", "the test share is 2; give a share between 0 and 1"),
        ("tune --server localhost:1 --out o --weights int3", "weights 'int3' are none of fp32, bf16, int8, int4"),
        ("tune --server localhost:1 --out o --epochs 0", "'--epochs'"),
        ("tune --server localhost:1 --out o --epochs 2 --set side.epochs=3", "are both given; give one of them"),
        ("tune --server localhost:1 --out /dev/null", "/dev/null is a file; give a folder as --out"),
        ("predict . text", "holds no exported model; give a folder in which `sidelight tune`"),
        ("predict .", "see `sidelight predict --help`"),
        ("forget . --server localhost:1", "holds no tuning; give the folder that `sidelight tune` wrote"),
        ("list protocol", "unknown list 'protocol'; did you mean 'protocols'?"),
        ("list", "see `sidelight list --help`"),
        ("report .", "is no audit (it holds no audit.json); give the folder that `sidelight audit` wrote"),
        ("report absent", "absent is not a folder; give the folder that"),
        ("report . --format pdf", "'--format'"),
        ("judge .", "is no audit (it holds no plan.json); give the folder that `sidelight audit` wrote"),
        ("bench memry", "unknown benchmark 'memry'; did you mean 'memory'?"),
        ("bench --out /dev/null", "/dev/null is a file; give a folder, new or there already"),
    ],
)
def test_a_wrong_name_or_option_is_one_sentence_with_what_would_be_right(
    typed: Typed, line: str, sentence: str
) -> None:
    assert sentence in typed.refused(*line.split())


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--backbone sidelight-tyni", "unknown backbone 'sidelight-tyni'; did you mean 'sidelight-tiny'?"),
        ("--backbone ./absent", "the backbone folder ./absent does not exist; give a folder, a hub id or "),
        ("--backbone .", ". holds no config.json; give a folder that transformers' save_pretrained wrote"),
        ("--data mesages", "unknown data 'mesages'; did you mean 'messages'?"),
        ("--data absent.jsonl", "data file absent.jsonl does not exist; give a .jsonl or .csv file"),
        ("--data ./absent", "data file absent ends in ''; it must end in .jsonl or .csv"),
        ("--data rows.txt", "ends in '.txt'; it must end in .jsonl or .csv"),
    ],
)
def test_an_audit_of_a_wrong_backbone_or_data_is_refused(typed: Typed, micro: Path, line: str, sentence: str) -> None:
    backbone = [] if "--backbone" in line else ["--backbone", micro]
    assert sentence in typed.refused("audit", *backbone, *line.split(), "--out", "o")


def test_the_version_and_the_help_are_no_errors(typed: Typed) -> None:
    assert typed("--version").status == 0
    assert typed("audit", "--help").status == 0
    bare = typed()
    assert (bare.status, bare.said) == (2, "")
    assert "audit" in bare.out


# --- folders ---------------------------------------------------------------------------------------------------


def test_a_file_or_somebody_elses_folder_is_no_place_for_an_audit(typed: Typed) -> None:
    (typed.here / "file").write_text("mine", encoding="utf-8")
    assert "file is a file; give a folder" in typed.refused("audit", "--out", "file")
    (typed.here / "home" / "scratch").mkdir(parents=True)
    sentence = typed.refused("audit", "--out", "home")
    assert "home holds files that are no audit's; give a folder of an audit or one that does not exist" in sentence


def test_a_recorded_run_never_goes_into_a_folder_that_exists(typed: Typed) -> None:
    assert ". exists already; give a folder that does not" in typed.refused("record", "pae", "--out", ".")


# --- data ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"text": "a", "label": 1}\n{"label": 2}\n', "rows.jsonl row 2: no 'text'"),
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', "rows.jsonl row 2: no 'label'"),
        ('{"text": null, "label": 1}\n', "rows.jsonl row 1: text is null"),
        ('{"text": "a", "label": NaN}\n', "rows.jsonl row 1: label is NaN"),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": 1}\n', "all 2 rows have label '1'; at least 2 labels"),
        ("", "rows.jsonl is empty; it must hold rows"),
        ('{"text": "a", "label": 1\n', "rows.jsonl row 1: malformed JSON"),
        (b'{"text": "caf\xe9", "label": 1}\n', "rows.jsonl row 1: byte 0xe9 is not UTF-8"),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n', "2 labels need at least 4"),
    ],
)
def test_a_wrong_data_file_is_refused_with_file_and_row(
    typed: Typed, micro: Path, content: str | bytes, sentence: str
) -> None:
    path = typed.here / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ["--backbone", micro, "--data", "rows.jsonl", "--out", "o"]
    assert sentence in typed.refused("audit", *options)
    assert sentence in typed.refused("record", "pae", *options)


@pytest.mark.usefixtures("no_workers")
def test_texts_of_one_token_and_of_ten_thousand_are_taken_and_what_was_cut_is_stated(
    micro: Path, tmp_path: Path
) -> None:
    rows = [{"text": chr(ord("a") + at), "label": at % 2} for at in range(26)]
    rows += [{"text": f"word{at} " * 10_000, "label": at % 2} for at in range(4)]
    path = jsonl(tmp_path, *rows)
    suite = tmp_path / "small.toml"
    suite.write_text(
        '[data]\nvictim_train = 9\nvictim_test = 9\nauxiliary = 9\nnon_member = 3\n[[runs]]\nprotocol = "pae"\n',
        encoding="utf-8",
    )
    request = Request(load_suite(str(suite)), str(micro), str(path), tmp_path / "out", "a seed of this test")
    planned = plan.settle(request, lambda line: None)
    said = " ".join([*planned.dataset.notices, *planned.notices])
    assert "4 of 30 texts are longer than 4,000 characters and were cut there." in said
    assert max(len(row.text) for row in planned.dataset.rows) == 4000


@pytest.mark.usefixtures("no_workers")
def test_data_that_the_default_backbone_was_trained_on_are_refused(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jsonl(typed.here, *GOOD)
    monkeypatch.setitem(TRAINED_ON, hashlib.sha256(path.read_bytes()).hexdigest(), "Made train.jsonl")
    sentence = "is Made train.jsonl, which sidelight-tiny was trained on; choose other data or a --backbone"
    assert sentence in typed.refused("audit", "--data", "rows.jsonl", "--out", "o")
    assert sentence in typed.refused("record", "pae", "--data", "rows.jsonl", "--out", "o")


@pytest.mark.usefixtures("no_workers")
def test_another_backbone_may_be_audited_on_data_that_the_default_was_trained_on(
    micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jsonl(tmp_path, *GOOD * 8)
    monkeypatch.setitem(TRAINED_ON, hashlib.sha256(path.read_bytes()).hexdigest(), "Made train.jsonl")
    assert load(str(path), numpy.random.default_rng(0)).labels == ("0", "1")
    request = Request(load_suite("quick"), str(micro), str(path), tmp_path / "out")
    plan.settle(request, lambda line: None)


@pytest.mark.usefixtures("no_workers")
def test_data_and_results_in_the_backbones_folder_are_refused_since_workers_read_it(typed: Typed, micro: Path) -> None:
    inside = jsonl(micro, *GOOD)
    try:
        sentence = typed.refused("audit", "--backbone", micro, "--data", inside, "--out", "o")
    finally:
        inside.unlink()
    assert "which attacks can read; move it to another folder" in sentence
    sentence = typed.refused("audit", "--backbone", micro, "--out", micro / "results")
    assert "which attacks can read; move it to another folder" in sentence
    assert not (micro / "results").exists()


# --- settings of a suite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[[runs]]\nprotocol = "pea"\n', "unknown protocol 'pea'; did you mean 'pae'?"),
        ('[[runs]]\nprotocol = "pae"\nattacks = ["sgin"]\n', "unknown attack 'sgin'; did you mean 'sign'?"),
        ('[[runs]]\nprotocol = "pae"\nsettings = { slector = "mean" }\n', "did you mean 'selector'?"),
        ('[[runs]]\nprotocol = "pae"\nvary.match = [{ rond = 1 }]\n', "did you mean 'round'?"),
        ('[dta]\n[[runs]]\nprotocol = "pae"\n', "'dta'; did you mean 'data'?"),
        ("runs = 3\n", "runs in mine.toml: "),
        ("[[runs]\n", "mine.toml is not valid TOML"),
    ],
)
def test_a_wrong_suite_is_refused_before_anything_is_read(typed: Typed, content: str, sentence: str) -> None:
    (typed.here / "mine.toml").write_text(content, encoding="utf-8")
    assert sentence in typed.refused("audit", "mine.toml", "--out", "o")


# --- the hub ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_does_not_answer_costs_seconds_and_one_sentence(
    typed: Typed, micro: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    asked: list[str] = []

    def unanswered(self: object, repo_id: str, **settings: Any) -> None:
        asked.append(repo_id)
        raise ConnectionError("no route to the hub")

    if not offline:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unanswered)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unanswered)
    begun = time.monotonic()
    backbone = typed.refused("audit", "--backbone", "somebody/model", "--out", "o")
    data = typed.refused("audit", "--backbone", micro, "--data", "somebody/data", "--out", "o")
    assert time.monotonic() - begun < 20
    assert "'somebody/model'" in backbone
    assert "the Hugging Face hub does not answer" in backbone
    assert "'somebody/data': the Hugging Face hub is out of reach" in data
    assert asked == ([] if offline else ["somebody/model", "somebody/data"])
