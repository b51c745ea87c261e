"""What every protocol records passes the check that somebody else's recordings must pass."""

from __future__ import annotations

from pathlib import Path

from sidelight.audits.runs.adversary import adversary_of
from sidelight.audits.suites.threat import Threat
from sidelight.audits.transcripts.transcript import check
from sidelight.system.message import Message
from sidelight.system.roles import DEVICE
from sidelight.system.view import ViewWriter

from .micro import Micro
from .variants import Runs, Variant, every_variant


@every_variant
def test_a_recording_of_ours_is_right(variant: Variant, runs: Runs, micro: Micro, tmp_path: Path) -> None:
    run = runs.short(variant)
    helpers = sorted(run.protocol.shows)
    if not helpers:  # nothing crosses
        assert not run.messages
        return
    # a view holds what devices of one kind send: see audits/runs/adversary.py
    adversary = adversary_of(Threat(device=DEVICE), run.protocol, run.scene)
    view, public = run.view(*helpers), run.public(micro.folders[variant.family])
    writer = ViewWriter(tmp_path / "view", view.parties)
    kept: list[Message] = []
    for message in view.messages:
        adversary.listening(kept.append)(message)
    for message in kept:
        writer(message)
    writer.close(view.held, public.facts)
    public.save(tmp_path / "public")
    found = check(tmp_path / "view", tmp_path / "public")
    assert found.seen.kinds == view.kinds
    assert found.seen.crossed.flows.total() == len(kept)
    assert found.known.items == public.items
