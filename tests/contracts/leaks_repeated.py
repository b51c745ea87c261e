"""Planted leaks for a server that says it has lost what it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sidelight.attacks import ATTACKS, Attack
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.deviating import DeviatingServer
from sidelight.system.roles import SERVER

from .leaks_grouped import defence
from .micro import LABELS, Micro, Run, make_scene, record
from .planted import Planted, pae, planted_in

CLAIMS = 63
"""With the first sending 64 draws: an eighth of the noise is left."""
EPSILON = 6.0


def deceived(micro: Micro, protocol: Protocol) -> Run:
    """A run whose server claims so many losses."""
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    roles = protocol.roles(scene)
    return record(protocol, scene, {**roles, SERVER: DeviatingServer(roles[SERVER], CLAIMS)})


def repeated(micro: Micro, attack: Attack, *, fresh: bool = True) -> Planted:
    """Noise that drowns one difference, a device that draws it anew for every sending, and no text to learn from."""
    protocol = pae(fresh_noise=fresh, defences=(defence("noise", epsilon=EPSILON),))
    planted = planted_in(deceived(micro, protocol), micro, attack)
    facts = {**planted.public.facts, "resent": True}
    nameless = replace(planted.public, facts=facts, auxiliary=(), labels=tuple("abcdefghijkl"[: len(LABELS)]))
    return replace(planted, public=nameless)


LEAKS: dict[str, Callable[[Micro], Planted]] = {"resend": lambda micro: repeated(micro, ATTACKS["resend"]())}
