"""The records that an audit stores, typed: what it says of itself, its runs and groups of runs, its examples."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Role = Literal["row", "control", "point", "victim"]
"""What a row is in the report; `victim`: one victim's part of a row over victims."""


class Stored(BaseModel):
    """A record that stays as it was stored; fields that a later version added are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Estimate(Stored):
    """A value with its interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Twin(Estimate):
    """What the same scorer gives to guesses made without the attacked messages."""

    twin: str | None = None
    """Which of the blind guesses won."""


class Traffic(Stored):
    """Messages of one kind between two parties."""

    kind: str
    sender: str
    receiver: str
    messages: int
    bytes: int | None = None
    """None where nobody counted them."""


class Utility(Estimate):
    """How well the fine-tuned model does on the victim's test rows."""

    metric: str = "accuracy"
    n: int | None = None


class Floor(Stored):
    """The utility below which leakage is no evidence."""

    value: float
    reached: bool
    source: str = Field("", alias="from")


class Audited(Stored):
    """What attacks on canaries showed of a promise."""

    epsilon_low: float
    """At the promise's delta."""
    epsilon_most: float | None = None
    """What the audit could show at most."""
    pairs: int
    mu_low: float | None = None
    confidence: float


class Budget(Stored):
    """What the defences of a run promise: (epsilon, delta)-differential privacy of one unit."""

    epsilon: float
    delta: float = 0
    unit: str = ""
    against: str = ""
    """Whom the promise is about."""
    audit: Audited | None = None

    @property
    def broken(self) -> bool:
        """Whether the audit shows more than is promised."""
        return self.audit is not None and self.audit.epsilon_low > self.epsilon

    @property
    def untested(self) -> bool:
        """Whether the audit could not show as much as is promised, whatever it found."""
        most = None if self.audit is None else self.audit.epsilon_most
        return most is not None and most <= self.epsilon


class Cached(Stored):
    """How much of a label stands in what the server trained and the activations together, by Fano's bound, in nats."""

    accuracy: float
    """Of the device, on the rows that the server trained on."""
    entropy: float
    bound: float
    rows: int


class Costs(Stored):
    """One side of a price, in the mean over its victims."""

    utility: float
    uplink_bytes_per_sample: float
    downlink_bytes_per_sample: float
    device_seconds_per_sample: float
    """Of the device's processor."""


class Price(Stored):
    """What the defences of a run cost against its undefended control."""

    utility_loss: Estimate
    verdict: Literal["within", "worse", "undecided"]
    """Whether the loss is within two points."""
    defended: Costs
    undefended: Costs


class Run(Stored):
    """One recorded run: a protocol with its settings, for one victim."""

    run: str
    protocol: str
    label: str
    title: str = ""
    source: str = ""
    paper_version: str | None = None
    claims: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    departures: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    defences: dict[str, dict[str, Any]] = Field(default_factory=dict)
    budget: Budget | None = None
    example_budget: Budget | None = None
    """Of a whole example, text and label; None where epsilon is infinite."""
    released_budget: Budget | None = None
    """Of a whole example, against those who receive the tuned model."""
    cached: Cached | None = None
    threat: dict[str, Any] = Field(default_factory=dict)
    shows: tuple[str, ...] = ()
    """Kinds that the adversary received, and what it holds itself behind `held:`."""
    others: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The same of parties that are neither device nor adversary: this run keeps nothing of what they see."""
    incidents: dict[str, dict[str, int]] = Field(default_factory=dict)
    """By the party that noticed, how often which device did what no honest one does."""
    traffic: tuple[Traffic, ...] = ()
    samples: int | None = None
    uplink_bytes_per_sample: float | None = None
    downlink_bytes_per_sample: float | None = None
    device_seconds_per_sample: float | None = None
    utility: Utility | None = None
    majority: Utility | None = None
    floor: Floor | None = None
    victim: int = 0
    seconds: float | None = None
    recorded: bool = True
    """False where only failed cells tell of the run."""

    @property
    def promises(self) -> tuple[Budget, ...]:
        """What the defences promise, of a label, of an example, and of an example in the tuned model."""
        return tuple(one for one in (self.budget, self.example_budget, self.released_budget) if one is not None)


class Spanned(Utility):
    """A utility over the runs of a group."""

    scope: str | None = None


class Group(Stored):
    """The runs of one protocol with its settings, one for each victim."""

    group: str
    label: str
    protocol: str
    role: Role
    """The first that holds, in the order row, control, point."""
    runs: tuple[str, ...]
    victims: tuple[int, ...] = ()
    utility: Spanned | None = None
    floor: Floor | None = None
    price: Price | None = None


class Backbone(Stored):
    """The frozen model of every run."""

    name: str
    digest: str = ""
    parameters: int | None = None
    blocks: int | None = None
    width: int | None = None
    vocabulary: int | None = None


class Data(Stored):
    """The rows that the audit was made on, and how they were split."""

    name: str
    digest: str = ""
    rows: int | None = None
    classes: int | None = None
    victim_train: int | None = None
    victim_test: int | None = None
    auxiliary: int | None = None
    non_member: int | None = None
    notices: tuple[str, ...] = ()


class Head(Stored):
    """What audit.json says of the whole audit."""

    suite: str = ""
    created: str = ""
    victims: int = 1
    backbone: Backbone
    data: Data
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    seconds: float | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether it is of one recording that somebody else made: no run can be repeated."""
        return self.suite == "transcript"


class Breach(Estimate):
    """What broke a limit of a leakage budget."""

    limit: int
    """Its number in the budget, from 1."""
    bound: str
    at: float
    outcome: str
    label: str = ""
    adversary: str = ""
    known_labels: int = 0
    goal: str | None = None
    attack: str | None = None
    metric: str | None = None
    victim: int | None = None
    reason: str | None = None


class Held(Stored):
    """What a leakage budget came to that was held against the audit."""

    kept: bool
    verdict: str
    breaches: tuple[Breach, ...] = ()
    notes: tuple[str, ...] = ()


class Example(Stored):
    """One private original beside the attack's guess."""

    id: str
    original: str
    guess: str
    certified: Any = None
    spans: tuple[str, ...] = ()
    """The text of each marked span of the original: a name, an amount, a secret."""

    @field_validator("id", "original", "guess", mode="before")
    @classmethod
    def _text(cls, value: Any) -> str:
        return "" if value is None else str(value)
