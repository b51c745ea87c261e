"""What a server that claims losses gains: everything from fresh noise, nothing from bytes that were kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS, Attack
from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.evidence.sightings import averaged
from sidelight.system.message import Message
from sidelight.system.public import Challenge, Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from ..contracts.goals import members_score
from ..contracts.leaks_grouped import defence
from ..contracts.leaks_repeated import deceived, repeated
from ..contracts.micro import AUXILIARY, VICTIM, Micro
from ..contracts.planted import Planted, Truth, attacked, pae

IDS = ("00000000000000aa", "00000000000000bb")
RESENT = Public({"resent": True, "positions": "pivot", "spread": 0.6, "difference_spread": 3.0}, ("no", "yes"))


def share(planted: Planted) -> float:
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    found = zip(guess.ids, guess.labels.tolist(), strict=True)
    return [planted.truth.labels[i] == label for i, label in found].count(True) / len(planted.truth.labels)


def seen(kind: str, *rows: tuple[float, float]) -> list[Message]:
    """Both samples in one message, once for each pair of values."""
    return [Message(kind, DEVICE, SERVER, sample_ids=IDS, tensors={kind: torch.tensor(row).view(2, 1)}) for row in rows]


def view_of(*messages: Message) -> View:
    return View(frozenset({SERVER}), messages, {}, {})


def test_a_mean_is_over_the_sightings_that_differ_and_says_how_much_noise_is_left() -> None:
    """A value that came twice came of one draw of noise."""
    messages = [*seen("difference", (1.0, 5.0), (1.0, 6.0), (4.0, 5.0)), *seen("activations", (0.1, 0.2), (0.1, 0.2))]
    view, public = averaged(view_of(*messages), RESENT)
    ids, rows = view.rows("difference", "difference")
    assert (ids, rows.flatten().tolist()) == (IDS, [2.5, 5.5])
    assert torch.equal(view.rows("activations", "activations")[1], torch.tensor([[0.1], [0.2]]))
    assert public.facts["difference_spread"] == pytest.approx(3.0 / 2**0.5)
    assert public.facts["spread"] == 0.6


def test_a_value_that_is_always_the_same_stays_itself_bit_for_bit() -> None:
    row = torch.randn(2, generator=torch.Generator().manual_seed(0)).tolist()
    view, _ = averaged(view_of(*seen("difference", *[(row[0], row[1])] * 7)), RESENT)
    assert view.rows("difference", "difference")[1].flatten().tolist() == torch.tensor(row).tolist()


def test_where_nothing_is_sent_again_the_view_is_left_as_it_came() -> None:
    view = view_of(*seen("difference", (1.0, 5.0), (3.0, 6.0)))
    for facts in ({"resent": False, "positions": "pivot"}, {"resent": True, "positions": "all"}):
        public = Public(facts, ("no", "yes"))
        assert averaged(view, public) == (view, public)


def test_fresh_noise_tells_what_kept_noise_hides(micro: Micro) -> None:
    """The same noise on 64 sendings: drawn anew it averages out, and kept it is one sending."""
    fresh, kept = (repeated(micro, ATTACKS["resend"](), fresh=anew) for anew in (True, False))
    assert share(fresh) >= 0.99
    assert share(kept) <= 0.5
    assert share(replace(fresh, attack=ATTACKS["posterior"]())) <= 0.5


@pytest.mark.parametrize("name", ["replay", "witness"])
def test_members_behind_noise_are_found_by_averaging_too(micro: Micro, name: str) -> None:
    challenge = tuple(Challenge(f"c{at}", row.text, row.label) for at, row in enumerate([*VICTIM, *AUXILIARY]))
    own = {row.text for row in VICTIM}
    truth = Truth({}, {}, None, {one.id: one.text in own for one in challenge})
    noise = defence("activation-noise", ratio=0.5), defence("noise", epsilon=4.0)
    scores = {anew: found(micro, ATTACKS[name](), challenge, truth, fresh=anew, noise=noise) for anew in (True, False)}
    assert scores[True] >= scores[False] + 0.2
    assert scores[True] >= 0.85


def found(
    micro: Micro, attack: Attack, challenge: tuple[Challenge, ...], truth: Truth, *, fresh: bool, noise: object
) -> float:
    protocol = pae(fresh_noise=fresh, defences=noise)
    run = deceived(micro, protocol)
    known = run.public(micro.folders["opt"])
    public = replace(known, challenge=challenge, facts={**known.facts, "resent": True})
    return members_score(attacked(Planted(run.view(), public, truth, protocol, attack)), truth)
