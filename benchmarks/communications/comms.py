"""`sidelight bench comms`: what every protocol sends, by formulas that are checked against what really crosses."""

from __future__ import annotations

from ...system.backbone import TINY, load_backbone
from ..finding import Bench, Finding, Headline, Table
from .bar import SETTING, headlines
from .checking import MOST, Checked, checked, checked_on
from .links import LINKS
from .shapes import SHAPES, shape_of
from .tables import by_kind, of_model, on_links, overview, plots, sweeps


def measure(bench: Bench) -> Finding:
    """Formulas, checked; then bytes along every size."""
    backbone = load_backbone(bench.backbone)
    own = None if bench.backbone == TINY else shape_of(backbone)
    checks = [*(checked_on(backbone, own, bench.say) if own else ()), *checked(bench.say)]
    along = sweeps(SHAPES if own is None else {f"{own.name} (yours)": own, **SHAPES})
    return Finding(
        name="comms",
        title="Communications",
        kind="derived",
        about=(
            f"Bytes of a whole fine-tuning, download of the tuned part included: {SETTING.samples:,} texts of "
            f"{SETTING.positions} tokens, {SETTING.epochs} epochs, batches of {SETTING.batch}, {SETTING.classes} "
            f"classes, rank {SETTING.rank}, {SETTING.precision}, {SETTING.shape.blocks} blocks of width "
            f"{SETTING.shape.width}, unless a table says otherwise. They follow from a closed formula for each "
            "protocol; runs that were counted byte for byte stand beside them."
        ),
        headlines=[*headlines(), *_offs(checks)],
        rows=overview(),
        tables=[
            *(of_model(own) if own else ()),
            *along,
            on_links(),
            by_kind(),
            Table("Formulas beside what was counted", [one.row for one in checks]),
        ],
        plots=plots(along),
        notes=(
            "`local` and `released` send nothing; what is averaged, as all of `fedlora`, crosses at full precision.",
            "Tensors alone are the limit: no encoding of the same values at the same precision is smaller.",
            "Sizes of the five models are published ones. Formulas were checked on sidelight-tiny and a small random "
            "Llama here, and at OPT-125M's true shape by `python -m sidelight.benchmarks.communications.bar`; what "
            "stands for the larger ones follows from the formula.",
            *(
                f"{link.name}: {link.uplink / 1e6:.3g} Mbit/s up, {link.downlink / 1e6:.3g} down, "
                f"{1000 * link.round_trip:.0f} ms there and back ({link.source})."
                for link in LINKS.values()
            ),
            "Seconds on links are modelled: `python -m sidelight.benchmarks.communications.shaped_link` holds the "
            "model against a link that the kernel shapes. Several devices have a link each and use them at once.",
            "pae_lm sends every position but the last, and 64 entries of each difference over the vocabulary.",
        ),
    )


def _offs(checks: list[Checked]) -> list[Headline]:
    wire = max(one.off for one in checks)
    socket = max(one.socket_off for one in checks)
    return [
        Headline(f"{what} furthest from its formula, in %", 100 * found, 100 * MOST, at="most")
        for what, found in (("a kind on the wire", wire), ("a run on a socket", socket))
    ]
