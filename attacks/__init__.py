"""What an adversary computes from a view and public knowledge, one attack in each file."""

from __future__ import annotations

from ..system.registry import Registry
from .attack import Attack

ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    {
        "addback": ".attacks.labels.addback:AddBack",
        "align": ".attacks.labels.align:Align",
        "average": ".attacks.extraction.average:Average",
        "calibrated": ".attacks.membership.calibrated:Calibrated",
        "cleartext": ".attacks.reconstruction.cleartext:Cleartext",
        "cluster": ".attacks.labels.cluster:Cluster",
        "complete": ".attacks.extraction.complete:Complete",
        "deep": ".attacks.reconstruction.deep:Deep",
        "distil": ".attacks.extraction.distil:Distil",
        "ezmia": ".attacks.membership.ezmia:EZMIA",
        "fewshot": ".attacks.labels.fewshot:FewShot",
        "gain": ".attacks.membership.gain:Gain",
        "gradient": ".attacks.labels.gradient:Gradient",
        "gram": ".attacks.labels.gram:Gram",
        "head": ".attacks.extraction.head:Head",
        "inverter": ".attacks.reconstruction.inverter:LearnedInverter",
        "knockoff": ".attacks.extraction.knockoff:KnockOff",
        "lira": ".attacks.membership.lira:LiRA",
        "lookup": ".attacks.reconstruction.lookup:Lookup",
        "loss": ".attacks.membership.loss:Loss",
        "match": ".attacks.reconstruction.match:Match",
        "mink": ".attacks.membership.mink:MinK",
        "norm": ".attacks.labels.norm:Norm",
        "plaintext": ".attacks.labels.plaintext:Plaintext",
        "posterior": ".attacks.labels.posterior:Posterior",
        "probe": ".attacks.labels.probe:Probe",
        "ratio": ".attacks.labels.ratio:Ratio",
        "read": ".attacks.labels.read:Read",
        "readoff": ".attacks.extraction.readoff:ReadOff",
        "regress": ".attacks.labels.regress:Regress",
        "replay": ".attacks.membership.replay:Replay",
        "resend": ".attacks.labels.resend:Resend",
        "retrieve": ".attacks.reconstruction.retrieve:Retrieve",
        "rmia": ".attacks.membership.rmia:RMIA",
        "search": ".attacks.reconstruction.search:Search",
        "shadow": ".attacks.extraction.shadow:Shadow",
        "shared": ".attacks.membership.shared:Shared",
        "sign": ".attacks.labels.sign:Sign",
        "size": ".attacks.labels.size:Size",
        "spelled": ".attacks.labels.spelled:Spelled",
        "support": ".attacks.labels.support:Support",
        "unmix": ".attacks.reconstruction.unmix:Unmix",
        "transform": ".attacks.extraction.transform:Transform",
        "update": ".attacks.reconstruction.update:UpdateSpans",
        "witness": ".attacks.membership.witness:Witness",
    },
    group="sidelight.attacks",
)

__all__ = ["ATTACKS", "Attack"]
