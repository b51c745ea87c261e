"""Every number that an audit states about a guess, and the rules that make it a verdict.

Notation: a row is one scored sample or document of one victim; n rows. `a` is the attack's score of a row, `b` the
score of its twin, a guess made without the leak; both lie in [0, 1], higher is better for the attacker, and both are of
the same rows. The advantage is d = (mean a - mean b) / (1 - mean b). LEAK = 0.05 is the smallest advantage that is
called a leak.

Where each rule stands, in reading order:

- `intervals`: of a share and of a mean on one victim, and over victims
- `advantage`: the advantage with its interval, and the p-value of "the true advantage is at most LEAK"
- `measured`: one metric of one attack on one victim, and what is refused
- `selection`: choosing on one half of the rows, reporting on the other: twins, and the best of several attacks
- `evidence`: all numbers of one metric on one victim or over several
- `losses`: what a defence costs in utility, and whether that is within two points
- `information`: what must be known of a label where a decoder reads it
- `decisions`: Holm's correction, the verdict, and when a control succeeded

`sidelight.audits.proofs.simulation` runs synthetic audits through these rules and compares their error rates with the
bounds that they promise.
"""

from __future__ import annotations

from .advantage import LEAK, Advantage, advantage, advantage_over_chance
from .decisions import CONTROL, LEVEL, Verdict, holm, succeeded, verdict
from .evidence import FEWEST_VICTIMS, Numbers, PerfectTwin, Twin, state
from .information import Information, information
from .intervals import CONFIDENCE, RESAMPLES, Interval, Values, exact_count, interval, t_interval
from .losses import Loss, loss
from .measured import Direction, Measured
from .selection import best, best_of, half_of

__all__ = [
    "CONFIDENCE",
    "CONTROL",
    "FEWEST_VICTIMS",
    "LEAK",
    "LEVEL",
    "RESAMPLES",
    "Advantage",
    "Direction",
    "Information",
    "Interval",
    "Loss",
    "Measured",
    "Numbers",
    "PerfectTwin",
    "Twin",
    "Values",
    "Verdict",
    "advantage",
    "advantage_over_chance",
    "best",
    "best_of",
    "exact_count",
    "half_of",
    "holm",
    "information",
    "interval",
    "loss",
    "state",
    "succeeded",
    "t_interval",
    "verdict",
]
