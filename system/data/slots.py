"""Values for the slots of `messages`: all made up, with number ranges and domains that nobody holds.

Telephone numbers come from the ranges kept free for fiction (Ofcom 07700 900000 to 900999 and 020 7946 0000 to
0999; 555-0100 to 0199 of the North American plan), card numbers start with 9, which no card network uses, and
e-mail domains are those of RFC 2606. The words stand in `slots.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from importlib.resources import files

from numpy.random import Generator

WORDS: dict[str, list[str]] = tomllib.loads(files(__package__).joinpath("slots.toml").read_text(encoding="utf-8"))
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def pick(values: Sequence[str], generator: Generator) -> str:
    """One of the values, each as likely."""
    return values[int(generator.integers(len(values)))]


def word(kind: str) -> Callable[[Generator], str]:
    """A drawer of one of the words of that kind."""
    return lambda generator: pick(WORDS[kind], generator)


def number(digits: int) -> Callable[[Generator], str]:
    """A drawer of that many decimal digits, zeros in front included."""
    return lambda generator: "".join(map(str, generator.integers(0, 10, digits)))


def name(generator: Generator) -> str:
    """A first name, mostly with a last name."""
    first, last = (pick(WORDS[kind], generator) for kind in ("first_names", "last_names"))
    return first if generator.random() < 0.3 else f"{first} {last}"


def amount(generator: Generator) -> str:
    """5 to 4,000 of a currency, log-uniform, with or without cents."""
    whole = int(10 ** generator.uniform(0.7, 3.6))
    cents = f"{whole}.{number(2)(generator)}"
    return pick((f"${cents}", f"{whole} euros", f"{cents} pounds", f"{whole} dollars"), generator)


def address(generator: Generator) -> str:
    """House number, street and, half of the time, city."""
    house = generator.integers(1, 240)
    street, kind, city = (pick(WORDS[kind], generator) for kind in ("streets", "street_types", "cities"))
    return f"{house} {street} {kind}" + pick(("", f", {city}"), generator)


def phone(generator: Generator) -> str:
    """A number that is kept free for fiction, British or North American."""
    tail, area = number(3)(generator), generator.integers(201, 990)
    return pick((f"07700 900{tail}", f"020 7946 0{tail}", f"{area}-555-01{tail[:2]}"), generator)


def email(generator: Generator) -> str:
    """Names at a domain that is kept free for examples."""
    first, last, domain = (pick(WORDS[kind], generator) for kind in ("first_names", "last_names", "domains"))
    end = pick(("", number(2)(generator)), generator)
    return f"{first.lower()}{pick(('.', '_', ''), generator)}{last.lower()}{end}@{domain}"


def account(generator: Generator) -> str:
    """An account number of 8 digits or, less often, a card number of 16."""
    card = ["9" + number(3)(generator), *(number(4)(generator) for _ in range(3))]
    return " ".join(card) if generator.random() < 0.3 else number(8)(generator)


def date(generator: Generator) -> str:
    """Day and month, spelled in one of three ways."""
    day, month = int(generator.integers(1, 29)), int(generator.integers(12))
    spelled = WORDS["months"][month]
    return pick((f"{day} {spelled}", f"{spelled} {day}", f"{day:02d}/{month + 1:02d}"), generator)


def time(generator: Generator) -> str:
    """A quarter of an hour between 7:00 and 20:45."""
    return f"{generator.integers(7, 21)}:{pick(('00', '15', '30', '45'), generator)}"


def reference(generator: Generator) -> str:
    """Two capitals and five digits, as on a booking or an order."""
    return pick(LETTERS, generator) + pick(LETTERS, generator) + number(5)(generator)


def password(generator: Generator) -> str:
    """Two words and two digits."""
    first, second = (pick(WORDS["password_words"], generator) for _ in range(2))
    return first.capitalize() + second + number(2)(generator)


SLOTS: dict[str, tuple[str, Callable[[Generator], str]]] = {
    "name": ("NAME", name),
    "surname": ("NAME", word("last_names")),
    "amount": ("AMOUNT", amount),
    "address": ("ADDRESS", address),
    "phone": ("PHONE", phone),
    "email": ("EMAIL", email),
    "account": ("ACCOUNT", account),
    "digits": ("ACCOUNT", number(4)),
    "date": ("DATE", date),
    "time": ("TIME", time),
    "shop": ("ORGANISATION", word("shops")),
    "city": ("PLACE", word("cities")),
    "item": ("ITEM", word("items")),
    "pin": ("SECRET", number(4)),
    "code": ("SECRET", number(6)),
    "password": ("SECRET", password),
    "reference": ("SECRET", reference),
    "diagnosis": ("SECRET", word("diagnoses")),
}
"""For each slot of a frame: the kind of its span and how a value is drawn."""
