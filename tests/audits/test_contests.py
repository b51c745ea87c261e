"""The best of several attacks: who chooses it, on which rows, and for whom."""

from __future__ import annotations

from pathlib import Path

from .synthetic import Made, of_attack, rows


def contest(tmp_path: Path, *shares: float, victims: int = 1) -> list[dict[str, object]]:
    made = Made(tmp_path)
    group = made.group("pae", victims)
    names = ["sign", "addback", "plaintext"][: len(shares)]
    for at, (name, share) in enumerate(zip(names, shares, strict=True)):
        made.entry(group, name, *(rows(share, seed=100 * at + v) for v in range(victims)))
    cells = {victim: (f"absent-{victim}",) for victim in range(victims)}
    composite = made.entries[0].__class__(
        group, "row", "composite", "labels", {}, cells, among=tuple(range(len(shares)))
    )
    made.entries.append(composite)
    return [dict(row) for row in made.compile()]


def test_the_best_attack_is_chosen_on_one_half_and_reported_on_the_other(tmp_path: Path) -> None:
    [best] = of_attack(contest(tmp_path, 0.3, 0.9), "best")
    assert (best["chosen"], best["among"]) == (["addback"], ["sign", "addback"])
    assert 60 < best["n"] < 140
    assert sorted(best["cells"]) == sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert best["verdict"] == "leaks"


def test_the_best_of_noise_is_not_better_than_noise(tmp_path: Path) -> None:
    found = [of_attack(contest(tmp_path / str(at), 0.2, 0.2, 0.2), "best")[0]["verdict"] for at in range(3)]
    assert found == ["inconclusive"] * 3


def test_each_victims_best_has_that_victims_run_choice_and_utility(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae", 2)
    made.entry(group, "sign", rows(0.9, seed=0), rows(0.3, seed=1))
    made.entry(group, "addback", rows(0.3, seed=2), rows(0.9, seed=3))
    cells = {victim: (f"absent-{victim}",) for victim in range(2)}
    made.entries.append(made.entries[0].__class__(group, "row", "composite", "labels", {}, cells, among=(0, 1)))
    found = of_attack(made.compile(), "best")
    assert [(row["seed"], row["run"], row["chosen"]) for row in found] == [
        (0, "pae-0", ["sign"]),
        (1, "pae-1", ["addback"]),
    ]


def test_over_victims_the_best_is_chosen_for_each(tmp_path: Path) -> None:
    [best] = of_attack(contest(tmp_path, 0.5, 0.9, victims=5), "best", seed=None)
    assert best["scope"] == "over 5 victims"
    assert best["victims"] == [0, 1, 2, 3, 4]
