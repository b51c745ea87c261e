"""Tensors in private files: owner-only, whole or absent, safetensors, never pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import StoreFull


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a file of tensors; StoreFull where the disk does not take it."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        save_file({name: t.detach().to("cpu").contiguous() for name, t in tensors.items()}, partial)
    except SafetensorError as error:  # so it tells of a full disk
        partial.unlink(missing_ok=True)
        raise StoreFull(f"{path.name} cannot be written ({error}); see that the disk has room") from None
    partial.chmod(0o600)
    partial.replace(path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a safetensors file; an absent file holds none."""
    return dict(load_file(path)) if path.exists() else {}
