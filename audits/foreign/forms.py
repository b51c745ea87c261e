"""What attacks will refuse of a message, refused while its system still runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...system.envelope import MOST_DIMENSIONS, MOST_LETTERS, MOST_NAME, NAME
from ...system.errors import UsageError
from ...system.message import Message
from ..kinds import KINDS, LENGTHS, Form

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
        if values.dim() > MOST_DIMENSIONS:
            raise UsageError(f"{name!r} has {values.dim()} dimensions; give at most {MOST_DIMENSIONS}")
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise UsageError(f"{name!r} of {kind!r} holds what is no finite number; attacks read finite ones alone")
    if kind not in KINDS:
        return
    forms = _forms(kind, tensors)
    if forms is None:
        wanted = " or ".join(" and ".join(map(repr, forms)) for forms in KINDS[kind])
        raise UsageError(f"a message of the kind {kind!r} has no such tensors; give {wanted}")
    for name, form in forms.items():
        values = tensors[name]
        if name != LENGTHS and values.is_floating_point() is form.whole:
            raise UsageError(f"{name!r} is of {values.dtype}; give {'whole numbers' if form.whole else 'fractions'}")
        if name != LENGTHS and values.dim() != form.dimensions:
            raise UsageError(f"{name!r} has the shape {tuple(values.shape)}; give {form.shape}, as attacks read it")


def row_shapes(message: Message) -> Mapping[str, tuple[int, ...]]:
    """By tensor that attacks read, the shape of a row, which all messages of a kind share."""
    forms = _forms(message.kind, message.tensors) or {}
    return {name: tuple(message.tensors[name].shape[1:]) for name in forms}


def _forms(kind: str, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, Form] | None:
    """Those of a kind that attacks read which are there."""
    return next((forms for forms in KINDS.get(kind, ()) if forms.keys() <= tensors.keys()), None)
