"""A run that several devices share: its name, which of them this one is, and the secret that they have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..message import Party
from ..network.access import LEAST_TOKEN, NAME, private_text
from ..network.runs import Place
from ..randomness import Streams


@dataclass(frozen=True)
class Shared:
    """A device's part in it."""

    run: str
    party: Party
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not NAME.match(self.run):
            raise UsageError(f"{self.run!r} is no run's name; give 1 to 64 small letters, digits and hyphens as --run")

    @property
    def place(self) -> Place:
        """As the server is told."""
        return Place(self.run, self.party)

    @property
    def seed(self) -> str:
        """What the run's devices and servers draw alike: nothing of the secret can be told from it."""
        return Streams(self.secret).of(f"run {self.run}").seed


def read_shared(run: str | None, party: Party | None, secret: Path | None) -> Shared | None:
    """What was typed; None where nothing was. Raises UsageError where a part is missing or a file cannot be used."""
    if run is None and party is None and secret is None:
        return None
    if run is None or party is None or secret is None:
        raise UsageError("a run that devices share needs all of --run, --party and --run-secret; give the others, too")
    text = private_text(secret, "secret").strip()
    if len(text) < LEAST_TOKEN:
        raise UsageError(f"{secret} holds no secret of {LEAST_TOKEN} characters or more; give all devices a longer one")
    return Shared(run, party, text)
