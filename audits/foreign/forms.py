"""What attacks will refuse of a message, refused while its system still runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...system.errors import UsageError
from ..kinds import KINDS, LENGTHS


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
