"""The files whose texts `sidelight-tiny` was trained on: an audit on them would show memory, not leakage."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import UsageError

TRAINED_ON = {
    "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8": "WikiText-2 train.txt",
    "b93d39c9e116fb27fc554a32cbed1204da53ac0f5560bd3f2ff5b9340cb3b999": "WikiText-2 train.jsonl",
    "1c3aef9c48af51c5f3e01ca49ea20adfbfa9611c11ba043617b48b3f40b3024b": "CLINC150 train.jsonl",
    "39afa094ba8495e9b8b30595394937bdd7b5b8e6dcdba71a9a380047759c88f9": "CLINC150 dev.jsonl",
    "93358e67adfecb85666949abd7ccdb846b676215435e0ea5c7bdf4e43e440d5e": "CLINC150 test.jsonl",
}
"""SHA-256 of the whole file to its name. Half of CLINC150's intents were trained on, from all three files."""


def refuse_trained_on(path: Path) -> None:
    """Refuse a file that `sidelight-tiny` was trained on; to be called where that is the backbone.

    Raises:
        UsageError: the file's SHA-256 is in `TRAINED_ON`.
    """
    if not path.is_file():
        return
    with path.open("rb") as opened:
        name = TRAINED_ON.get(hashlib.file_digest(opened, "sha256").hexdigest())
    if name:
        raise UsageError(f"{path} is {name}, which sidelight-tiny was trained on; choose other data or a --backbone")
