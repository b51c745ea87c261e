"""Members of language modelling: examples are computed as they would have crossed, their class's words included."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import MembershipScores
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER

from ..contracts.goals import members_score
from ..contracts.leaks_learned import attack
from ..contracts.leaks_members import challenged
from ..contracts.micro import LABELS, Micro
from ..contracts.planted import attacked, made

SHORT = SideTraining(bottleneck=4, epochs=1, batch=16)


@pytest.mark.parametrize("settings", [{}, {"precision": "int8"}], ids=str)
def test_replay_finds_every_member_of_an_undefended_run(micro: Micro, settings: dict[str, object]) -> None:
    planted = challenged(micro, made("pae_lm", side=SHORT, **settings), SERVER, attack("replay"))
    assert members_score(attacked(planted), planted.truth) == 1.0


def test_what_follows_a_text_counts(micro: Micro) -> None:
    """With another class's words an example is not what was sent: no member is as near as with its own."""
    planted = challenged(micro, made("pae_lm", side=SHORT), SERVER, ATTACKS["replay"]())
    wrong = tuple(replace(one, label=LABELS[LABELS.index(one.label) - 1]) for one in planted.public.challenge)
    guess = attacked(replace(planted, public=replace(planted.public, challenge=wrong)))
    right = attacked(planted)
    assert isinstance(guess, MembershipScores)
    assert isinstance(right, MembershipScores)
    assert planted.truth.members is not None
    member = torch.tensor([planted.truth.members[one.id] for one in wrong])
    assert (guess.scores < right.scores)[member].all()
