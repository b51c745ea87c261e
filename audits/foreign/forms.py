"""What attacks will refuse of a message, refused while its system still runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...system.envelope import MOST_LETTERS, MOST_NAME, NAME
from ...system.errors import UsageError
from ...system.message import Message
from ..kinds import KINDS, LENGTHS

NAMES = "letters, digits and _ . : -, the first a letter or digit, at most"


def check_names(message: Message) -> None:
    """Refuse what the message, its parties or its tensors cannot be called in a view."""
    named = [("kind", message.kind), ("sender", message.sender), ("receiver", message.receiver)]
    for what, name in named:
        if len(name) > MOST_LETTERS or not NAME.fullmatch(name):
            raise UsageError(f"the {what} of a message is no name; give {NAMES} {MOST_LETTERS}")
    for name in message.tensors:
        if len(name) > MOST_NAME or not NAME.fullmatch(name):
            raise UsageError(f"{name[:80]!r} is no name of a tensor; give {NAMES} {MOST_NAME}")


def check_forms(kind: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse numbers that are not finite and, of the kinds that attacks read, tensors of another form."""
    for name, values in tensors.items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise UsageError(f"{name!r} of {kind!r} holds what is no finite number; attacks read finite ones alone")
    if kind not in KINDS:
        return
    forms = next((forms for forms in KINDS[kind] if forms.keys() <= tensors.keys()), None)
    if forms is None:
        wanted = " or ".join(" and ".join(map(repr, forms)) for forms in KINDS[kind])
        raise UsageError(f"a message of the kind {kind!r} has no such tensors; give {wanted}")
    for name, form in forms.items():
        values = tensors[name]
        if name != LENGTHS and values.is_floating_point() is form.whole:
            raise UsageError(f"{name!r} is of {values.dtype}; give {'whole numbers' if form.whole else 'fractions'}")
        if name != LENGTHS and values.dim() != form.dimensions:
            raise UsageError(f"{name!r} has the shape {tuple(values.shape)}; give {form.shape}, as attacks read it")
