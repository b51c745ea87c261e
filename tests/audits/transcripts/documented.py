"""The tables of docs/transcripts.md as they follow from the code."""

from __future__ import annotations

from collections.abc import Iterator

from sidelight.attacks import ATTACKS, Attack
from sidelight.audits.kinds import KINDS
from sidelight.audits.transcripts.facts import FACTS

NOTHING = "none"


def attacks() -> Iterator[str]:
    """What each built-in attack reads: kinds and held items, public items, facts with the values that it takes."""
    yield "| attack | goal | reads | public items | facts, and the values it takes |"
    yield "|---|---|---|---|---|"
    for name, path in sorted(ATTACKS._table.items()):
        if path.startswith("."):  # others are plug-ins
            yield _row(name, ATTACKS[name])


def _row(name: str, attack: type[Attack]) -> str:
    taken = [f"{fact}: {' or '.join(map(_json, values))}" for fact, values in attack.assumes.items()]
    reads, public = (", ".join(sorted(some)) or NOTHING for some in (attack.needs.view, attack.needs.public))
    return f"| `{name}` | {attack.goal} | {reads} | {public} | {'; '.join(taken) or NOTHING} |"


def _json(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def facts() -> Iterator[str]:
    """What each fact may be."""
    yield "| fact | value | says |"
    yield "|---|---|---|"
    yield from (f"| `{name}` | {fact.wanted.said} | {fact.about} |" for name, fact in FACTS.items())


def kinds() -> Iterator[str]:
    """What messages hold that attacks read."""
    yield "| kind | tensors |"
    yield "|---|---|"
    for kind, sets in KINDS.items():
        said = [
            ", ".join(f"`{name}` {form.shape} {'I64 or I32' if form.whole else 'F32'}" for name, form in forms.items())
            for forms in sets
        ]
        yield f"| `{kind}` | {'; or '.join(said)} |"


TABLES = {"attacks": attacks, "facts": facts, "kinds": kinds}


def page(text: str) -> str:
    """The page with its tables as they ought to be, between marks."""
    for name, lines in TABLES.items():
        begin, end = f"<!-- {name}: from the code -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n".join(lines()) + "\n" + end + after
    return text
