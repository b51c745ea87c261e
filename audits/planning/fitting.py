"""What is refused before anything is written, though only the backbone and the data can tell that it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...attacks import ATTACKS
from ...attacks.attack import Goal
from ...system.backbone import Backbone
from ...system.data import Dataset, Split
from ...system.data.rows import MEMBER
from ...system.errors import UsageError
from ...system.packets import EAVESDROPPER
from ...system.protocols import Protocol, Scene
from ...system.randomness import Streams
from ...system.roles import SERVER
from ..cells.membership import RATES, RESOLVED
from ..cells.scoring import PRIMARY
from ..runs.adversary import adversary_of
from ..runs.drawing import draw_known
from ..suites.arrange import Planned
from ..suites.suite import DataPlan, RunPlan, Suite
from ..suites.threat import Threat
from .naming import Request, parts_path, run_streams

CLASSES = "data.max_classes"
UNUSED = Streams("nothing that is drawn here is kept")


def refuse_unfit(
    suite: Suite, planned: Sequence[Planned], backbone: Backbone, datasets: Mapping[DataPlan, Dataset]
) -> None:
    """Refuse curves over more classes than the data have, texts that are too long, and defences that do not fit."""
    for one in planned:
        have = len(datasets[suite.data_of(one.run)].labels)
        if one.point and one.point.setting == CLASSES and one.point.value > have:
            raise UsageError(
                f"a sweep asks for {one.point.value} classes and the data have {have}; give smaller values"
            )
    for run in (one.run for one in planned):
        protocol = suite.protocol_of(run)
        refuse_absent(suite.threat_of(run), protocol)
        refuse_unheeded(suite.threat_of(run), protocol)
        protocol.require(backbone)
        refuse_untold(suite, protocol, datasets[suite.data_of(run)])
    for run in (one.run for one in planned if one.run.defences):
        labels = datasets[suite.data_of(run)].labels
        suite.protocol_of(run).public_head(Scene(backbone, labels, {}, UNUSED))  # depends on every defence


def refuse_untold(suite: Suite, protocol: Protocol, dataset: Dataset) -> None:
    """Refuse a model that was tuned elsewhere on rows that nobody names, or as several victims, of which it is one."""
    if protocol.trains:
        return
    if not any(row.pool == MEMBER for row in dataset.rows):
        raise UsageError(
            f"data {dataset.name} do not say which rows the model of {protocol.name} was tuned on; give every row "
            "'member', true or false"
        )
    if suite.victims > 1:
        raise UsageError(f"{protocol.name} audits one model, which is one victim; give victims = 1")


def refuse_absent(threat: Threat, protocol: Protocol) -> None:
    """Refuse an adversary that the protocol has no such party for: its cells would read `not exposed`.

    A protocol that no server takes part in is looked at all the same: that nothing crosses is the finding.
    """
    if protocol.shows and (absent := sorted(threat.parties - protocol.shows.keys() - {EAVESDROPPER})):
        name = "main" if absent[0] == SERVER else absent[0]
        known = " or ".join(sorted(protocol.shows))
        raise UsageError(f"{protocol.name} has no {name} server with these settings; give threat.adversary = {known}")


def refuse_unheeded(threat: Threat, protocol: Protocol) -> None:
    """Refuse a server that claims losses more often than devices of the protocol send anything again."""
    if threat.claimed_losses > protocol.most_resent:
        raise UsageError(
            f"claimed_losses is {threat.claimed_losses} and devices of {protocol.name} send again at most "
            f"{protocol.most_resent} times; give no more"
        )


def refuse_unattackable(
    request: Request, planned: Iterable[Planned], backbone: Backbone, seed: str, parts: Mapping[Path, Split]
) -> None:
    """Refuse threat models that name no kind of device, or know the labels of a whole class beforehand."""
    suite = request.suite
    for run in (one.run for one in planned):
        protocol, threat = suite.protocol_of(run), suite.threat_of(run)
        for victim in range(suite.victims):
            dealt = parts[parts_path(request, suite.data_of(run), victim)]
            streams = run_streams(seed, victim)
            scene = Scene(backbone, dealt.labels, protocol.parties(dealt.victim_train, streams), streams)
            protocol.require_scene(scene)
            rows = adversary_of(threat, protocol, scene).rows(scene, dealt.victim_train)
            draw_known(rows, dealt.labels, threat.known_labels, UNUSED)
            refuse_unresolvable(run, threat, protocol, len(dealt.non_member))
            for name, asked in (("candidates", "mixed"), ("challenge", "examples")):
                if getattr(threat, name) == asked and not dealt.non_member:
                    raise UsageError(f'{name} is "{asked}" and there are no non_member rows to mix with; give some')


def refuse_unresolvable(run: RunPlan, threat: Threat, protocol: Protocol, others: int) -> None:
    """Refuse to look for members of a model that was tuned elsewhere among too few others: it is asked for little else.

    Of models that are tuned here the audit says so on the rows of these attacks, beside all others.
    """
    least = round(RESOLVED / RATES[PRIMARY[Goal.MEMBERS]])
    seeks = any(ATTACKS[name].goal is Goal.MEMBERS for name, _ in run.attacked())
    if not protocol.trains and threat.challenge == "examples" and seeks and 0 < others < least:
        raise UsageError(
            f"{others} rows of the data are left for non_member, and attacks on members need at least {least} that the "
            f"model of {protocol.name} was not tuned on; give more such rows, a larger data.non_member, or smaller "
            "victim_test and auxiliary"
        )
