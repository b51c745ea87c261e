"""Rows from a Hugging Face `datasets` id or from a local folder that `datasets` can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .check import checked_row
from .rows import Row

PATIENCE = 10.0
"""Seconds to wait for the hub before it counts as out of reach."""


class OutOfReach(UsageError):
    """The hub could not be asked."""


class NotOnHub(UsageError):
    """The hub holds no data set of this name that may be read."""


def hub_rows(reference: str) -> tuple[list[Row], Path | None]:
    """Load the train split of a hub data set; returns its rows and the cache folder that holds them.

    Raises:
        OutOfReach: the hub cannot be reached and the data are not cached.
        NotOnHub: the hub does not know the id.
        UsageError: the data have no train split or no `text` and `label`.
    """
    _probe(reference)
    loaded = _load(reference, None)
    files = loaded.cache_files
    return _rows(loaded, reference), Path(files[0]["filename"]).parent if files else None


def folder_rows(folder: Path) -> list[Row]:
    """Load the train split of a local folder, without leaving a copy in the cache of `datasets`."""
    with tempfile.TemporaryDirectory() as cache:
        return _rows(_load(str(folder), cache), str(folder))


def _probe(reference: str) -> None:
    """Ask the hub once, with little patience: `datasets` itself would retry for minutes."""
    if _offline():
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(reference, timeout=PATIENCE)
    except (GatedRepoError, RepositoryNotFoundError, HFValidationError):
        raise NotOnHub(f"data {reference!r}: the Hugging Face hub has no public data of this name; check it") from None
    except Exception as error:  # the errors of its HTTP client, whose base class differs between versions
        raise OutOfReach(_out_of_reach(reference, type(error).__name__)) from None


def _offline() -> bool:
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def _out_of_reach(reference: str, reason: str) -> str:
    return (
        f"data {reference!r}: the Hugging Face hub is out of reach ({reason}); "
        "use --data messages, a .jsonl or .csv file, or data already cached with HF_HUB_OFFLINE=1"
    )


def _load(reference: str, cache: str | None) -> Any:
    """The train split, as `datasets` loads it."""
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(reference, split="train", cache_dir=cache)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        if _offline() and cache is None:
            raise OutOfReach(_out_of_reach(reference, "offline mode")) from None
        raise NotOnHub(f"data {reference!r} cannot be loaded ({_first_line(error)}); check the name") from None
    except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UsageError(
            f"data {reference!r} cannot be loaded ({_first_line(error)}); it must have a train split of text and label"
        ) from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _rows(loaded: Any, reference: str) -> list[Row]:
    features: Mapping[str, Any] = loaded.features
    if missing := [name for name in ("text", "label") if name not in features]:
        found = ", ".join(features)
        raise UsageError(
            f"data {reference!r} has no column {missing[0]!r}; it needs 'text' and 'label', it has {found}"
        )
    names: list[str] | None = getattr(features["label"], "names", None)
    return [checked_row(record, f"{reference} row {at}") for at, record in _records(loaded, names)]


def _records(loaded: Iterable[Mapping[str, Any]], names: list[str] | None) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Records from row 1, with the number of a class replaced by its name; -1 is how `datasets` marks no label."""
    for at, record in enumerate(loaded, start=1):
        label = record["label"]
        if names is not None and label is not None:
            label = names[label] if 0 <= label < len(names) else None
        yield at, {"text": record["text"], "label": label, "spans": record.get("spans")}
