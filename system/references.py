"""What names a backbone: a packaged name, a local folder or a Hugging Face id; and what is said of a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UnknownName, UsageError

TINY = "sidelight-tiny"
BACKBONES = {TINY: Path(__file__).parent / "tiny"}
"""Backbones that come with the package."""

PATIENCE = 10.0
"""Seconds to wait for the hub before only its cache is asked."""


def hub_answers(reference: str) -> bool:
    """Whether the hub knows a model: asked once, where `transformers` would retry for a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(reference, timeout=PATIENCE)
    except Exception:  # the errors of its HTTP client have no common class; what the cache holds may still do
        return False
    return True


def local_folder(reference: str) -> Path | None:
    """The folder of a packaged or local backbone; None for a hub id."""
    if reference in BACKBONES:
        return Path(os.path.realpath(BACKBONES[reference]))
    path = Path(reference).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UsageError(
                f"{reference} holds no config.json; give a folder that transformers' save_pretrained wrote"
            )
        return path.resolve()
    if reference.startswith((".", "/", "~")) or reference.count("/") > 1:
        raise UsageError(f"the backbone folder {reference} does not exist; give a folder, a hub id or {TINY!r}")
    return None


def refusal(reference: str, folder: Path | None, error: Exception) -> UsageError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if folder is not None:
        return UsageError(f"the backbone in {reference} cannot be loaded ({first}); give a language model's folder")
    if "/" not in reference and not _known_offline(error):
        return UnknownName("backbone", reference, BACKBONES)
    return UsageError(
        f"the backbone {reference!r} is no packaged name or local folder and the Hugging Face hub does not answer for "
        f"it; give {TINY!r}, a local folder, or an id while the hub can be reached"
    )


def _known_offline(error: Exception) -> bool:
    return "not a local folder and is not a valid model identifier" in str(error)
