"""What the benchmark of exact reconstruction says, on a backbone of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.attacks.attack import TextGuess
from sidelight.benchmarks.attacks import shadow_speed
from sidelight.benchmarks.attacks.attack_speed import recovery, texts_of
from sidelight.benchmarks.attacks.sipit_peer import ask
from sidelight.benchmarks.families import FAMILIES, make
from sidelight.benchmarks.finding import Bench
from sidelight.system.backbone import load_backbone
from sidelight.system.errors import UsageError
from sidelight.system.public import Example

from ..contracts.micro import AUXILIARY, VICTIM, Micro

STAND_IN = '''
def sipit(model, tokenizer, states, layer, policy):
    """Tries all tokens, in order, and takes the nearest."""
    import torch
    found = []
    for position in range(len(states)):
        rows = torch.tensor([[*found, token] for token in range(len(tokenizer))])
        last = model(rows, output_hidden_states=True).hidden_states[layer][:, -1]
        found.append(int((last - states[position]).norm(dim=1).argmin()))
    return found
'''


def test_recovery_counts_tokens_of_the_texts_and_certificates(micro: Micro) -> None:
    texts = [sample.text for sample in VICTIM]
    auxiliary = tuple(Example(sample.text, "") for sample in AUXILIARY)
    row = recovery(str(micro.folders["opt"]), texts, auxiliary, "int8")
    assert (row["texts"], row["certified"], row["wrong"], row["positions"]) == (len(texts), len(texts), 0, 1.0)
    assert row["tokens"] == sum(len(micro.backbone("opt").token_ids(text)) for text in texts)


def test_wrong_guesses_and_wrong_certificates_are_counted(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that says the same of every text: right at no place, and sure of it."""

    def run(_self: object, _view: object, _public: object, _prepared: object, _generator: object) -> TextGuess:
        return TextGuess(("0", "1"), ((2,), (2,)), (True, False))

    monkeypatch.setattr("sidelight.benchmarks.attacks.attack_speed.Match.run", run)
    auxiliary = tuple(Example(sample.text, "") for sample in AUXILIARY)
    row = recovery(str(micro.folders["opt"]), [sample.text for sample in VICTIM[:2]], auxiliary, "fp32")
    assert (row["texts"], row["certified"], row["wrong"], row["positions"]) == (2, 1, 1, 0.0)


def test_auxiliary_texts_are_none_of_those_to_recover() -> None:
    texts, auxiliary = texts_of(["messages"], 50)
    assert len(texts) == 50
    assert not set(texts) & {example.text for example in auxiliary}


def test_every_family_is_a_backbone_of_its_own_kind(tmp_path: Path) -> None:
    kinds = [load_backbone(str(make(family, tmp_path, 300))).model.config.model_type for family in FAMILIES]
    assert kinds == ["opt", "gpt2", "llama", "qwen2", "bloom"]


def test_the_peer_runs_from_its_folder_in_a_process_of_its_own(micro: Micro, tmp_path: Path) -> None:
    (tmp_path / "sipit.py").write_text(STAND_IN, encoding="utf-8")
    rows = [micro.backbone("llama").token_ids(sample.text)[:4] for sample in VICTIM[:2]]
    answer = ask(tmp_path, str(micro.folders["llama"]), rows, 1, "random")
    assert answer.tokens == rows


@pytest.mark.parametrize("least", [0.0, 1e9])
def test_shadows_are_held_against_a_loop(micro: Micro, least: float) -> None:
    bench = Bench(str(micro.folders["opt"]))
    found = shadow_speed.measure(bench, shadows=2, count=40, bottleneck=2, least=least)
    assert [row["networks"] for row in found.rows] == [shadow_speed.LOOPED, 2]
    assert bool(found.missed) is (least > 0)


def test_a_folder_without_the_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no sipit\.py"):
        ask(tmp_path, "sidelight-tiny", [[1]], 1, "random")
