"""Numbers and states in words, the same in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..stored.records import Breach, Budget, Cached, Estimate, Example, Price
from ..stored.rows import Control, Judged, Row
from .highlight import compared

DASH = "\N{EN DASH}"
METRICS = {
    "auc": "area under the ROC",
    "tpr_at_1": "members found at a threshold for 1 % of false positives",
    "tpr_at_01": "members found at a threshold for 0.1 % of false positives",
}
"""Metrics whose stored names tell too little."""


def number(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits; a dash where there is none."""
    if value is None:
        return DASH
    rounded = f"{value:.{digits}f}"
    return rounded.removeprefix("-") if float(rounded) == 0 else rounded


def estimate(of: Estimate | None, digits: int = 3) -> str:
    """A value with its interval in brackets."""
    return DASH if of is None else interval(of.value, of.low, of.high, digits)


def advantage(of: Judged | Control, digits: int = 3) -> str:
    return interval(of.advantage, of.advantage_low, of.advantage_high, digits)


def percent(value: float | None) -> str:
    """A share in percent, with a decimal where it is not whole."""
    return DASH if value is None else f"{100 * value:.1f}".removesuffix(".0") + " %"


def p_value(p: float | None) -> str:
    """A p value with as many digits as decide anything."""
    return number(p) if p is None or p >= 0.001 else "< 0.001"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    if value is None or low is None or high is None or low == high:
        return number(value, digits)  # an interval without width: known exactly
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def typeset(text: str) -> str:
    """A number for a page: with a true minus, and an interval that no line end breaks."""
    return text.replace("-", "\N{MINUS SIGN}").replace(", ", ",\N{NO-BREAK SPACE}")


def count(value: float | None) -> str:
    """A whole number with separators, one decimal where it is small and broken."""
    if value is None:
        return DASH
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """Seconds as milliseconds."""
    return DASH if value is None else count(1000 * value)


def promise(budget: Budget | None) -> str:
    """A privacy budget with its delta, its unit, whom it is about, and what its audit showed."""
    if budget is None:
        return ""
    against = f", against {budget.against}" if budget.against else ""
    return f"epsilon {budget.epsilon:.4g}, delta {budget.delta:g} for one {budget.unit}{against}{audited(budget)}"


def audited(budget: Budget) -> str:
    """The lower bound of a promise's audit, and how large it could be."""
    if (found := budget.audit) is None:
        return " (not audited)"
    said = "audited, but it could not be refuted:" if budget.untested else "audited:"
    said = "BROKEN PROMISE: an audit shows" if budget.broken else said
    most = "" if found.epsilon_most is None else f", can show at most {found.epsilon_most:.3g}"
    share = f"{100 * found.confidence:g} % confidence, {count(found.pairs)} canaries"
    return f" ({said} epsilon at least {found.epsilon_low:.3g}{most}, {share})"


def loss(price: Price | None, digits: int = 3) -> str:
    """A utility loss with its interval, and whether it is within two points."""
    if price is None:
        return DASH
    said = {"within": "within 2 points", "worse": "more than 2 points", "undecided": "undecided at 2 points"}
    return f"{estimate(price.utility_loss, digits)}, {said[price.verdict]}"


def bound(held: Sequence[Cached], grouped: float | None) -> str:
    """Fano's bound in the mean over victims, beside the largest share of rows that an attack groups rightly."""
    rows, accuracy = sum(one.rows for one in held), _mean([one.accuracy for one in held])
    known, whole = _mean([one.bound for one in held]), _mean([one.entropy for one in held])
    read = f"the device reads the true label of {number(accuracy)} of the {count(rows)} rows that the server trained on"
    least = f"given its keys at least {known:.2f} of the {whole:.2f} nats of a label stand in that and the activations"
    found = f"; attacks put up to {number(grouped)} of the rows with their like" if grouped is not None else ""
    return f"{read}, so that {least} together{found}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def setting(value: Any) -> str:
    """A setting's value as one would type it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting(inner)}" for name, inner in value.items()) or DASH
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value)) or DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return DASH if value is None or value == "" else str(value)


def party(name: str) -> str:
    """A party in a sentence: every one but the main server and those outside is a server of some kind."""
    return f"the {name}" if name in ("server", "eavesdropper", "recipient") else f"the {name} server"


def words(name: str | None) -> str:
    """A stored name as words: `position_accuracy` as `position accuracy`."""
    return DASH if not name else METRICS.get(name) or name.replace("held:", "held: ").replace("_", " ")


def attack(row: Row) -> str:
    """An attack with its settings and, where it is not the server, the adversary; the best of several as such."""
    if row.is_best and row.among:
        return f"best of {len(row.among)}"
    return attack_with(row.attack, row.settings, row.adversary)


def attack_with(name: str, settings: Mapping[str, Any], adversary: str | None = None) -> str:
    shown = setting(dict(settings)) if settings else ""
    elsewhere = adversary if adversary not in (None, "server") else ""
    inside = "; ".join(part for part in (shown, elsewhere) if part)
    return f"{name} ({inside})" if inside else name


def certified(value: Any) -> str:
    """Whether a guess was certified, wholly or token by token."""
    if isinstance(value, list | tuple):
        return f"{sum(map(bool, value))} of {len(value)} tokens certified"
    if isinstance(value, bool):
        return "certified" if value else "not certified"
    return "" if value is None else str(value)


def breach(one: Breach) -> str:
    """What broke a limit: the run, what was held to it, and by how much."""
    known = f" knowing {one.known_labels} labels a class" if one.known_labels else ""
    victim = "" if one.victim is None else f"victim {one.victim}"
    aim = (words(name) if name else "" for name in (one.goal, one.metric))
    parts = (one.label, one.attack, f"{one.adversary}{known}", *aim, victim)
    found = f" {estimate(one)}, {words(one.bound)} {one.at:g}" if one.value is not None else ""
    why = f": {one.reason}" if one.reason else ""
    return f"limit {one.limit}: {', '.join(filter(None, parts))}: {one.outcome}{found}{why}"


def about(example: Example) -> str:
    """What is known of a guess beside its words: whether it was certified, and what it tells of personal spans."""
    both = compared(example.original, example.guess, example.spans)
    personal = f"{both.recovered} of {both.personal} personal spans recovered" if both.personal else ""
    sure = "" if example.certified is None else certified(example.certified)
    return ", ".join(part for part in (sure, personal) if part)


def listed(names: list[str], most: int = 4) -> str:
    """Names as a phrase: `a, b and c`, the tail of a long list as a number."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
