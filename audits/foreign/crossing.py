"""How a call of a foreign function or gRPC method becomes a message, and what it returns another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ...system.codec import Precision
from ...system.errors import UsageError
from ...system.message import Message
from .forms import check_forms, check_names
from .values import check_rows, copied, ids_of, precision_of

Source = str | Callable[..., Any]
"""An argument's or a field's name, or a function of what the recorded function is called with."""
Text = str | Callable[..., str]
"""A text, or a function that says it of each call."""
Arrays = Mapping[str, str] | Callable[..., Mapping[str, Any] | None]
"""Tensors' names with their arguments' or fields' names, or a function that gives arrays by tensors' names; of a call
for which it gives None nothing is filed."""


KINDS = frozenset({"activations", "difference", "gradients", "labels", "tokens"})
"""Kinds that attacks read by a tensor of the same name."""


@dataclass(frozen=True)
class Answer:
    """What is filed of a return value; its functions are called with that value alone, and names are its fields."""

    kind: Text
    tensors: Arrays
    ids: Source | None = None
    """Those of the call where absent; a method that takes a stream must say."""
    precision: Precision | None = None


@dataclass(frozen=True)
class Crossing:
    """What is filed of a call. Functions are called with its arguments, of a gRPC method with its request alone."""

    kind: Text
    """As the attacks know it: "activations", "difference", "labels", "gradient"."""
    sender: Text
    receiver: Text
    tensors: Arrays
    ids: Source | None
    """One id a sample; None for a message about no sample."""
    answer: Answer | None = None
    round: int | Callable[..., int] = 0
    """Passes over the data, from 0."""
    precision: Precision | None = None
    """At which floating-point tensors cross: by their types where absent."""


class Call(NamedTuple):
    """What something was called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Callable[[str], Any]
    """An argument or a field by name."""

    def of(self, source: Any) -> Any:
        """What a function says of the call, or what stands under a name."""
        return source(*self.args, **self.kwargs) if callable(source) else self.named(source)

    def text(self, what: str, source: Text) -> str:
        found = source(*self.args, **self.kwargs) if callable(source) else source
        if not isinstance(found, str) or not found:
            raise UsageError(f"the {what} is {type(found).__name__}; give a text that is not empty")
        return found

    def arrays(self, source: Arrays) -> Any:
        """Arrays by tensors' names, or None."""
        return self.of(source) if callable(source) else {name: self.named(place) for name, place in source.items()}


class Counted(NamedTuple):
    """What a message adds to the traffic."""

    kind: str
    """Several, where gRPC carries messages of several kinds together."""
    bytes: int
    measured: str
    """What the bytes are: `grpc`, of the serialised request or answer; `tensors`, of the tensors' values alone."""


class Draft(NamedTuple):
    """A message that waits until it was sent."""

    message: Message
    filed: bool
    """False where its sizes alone are counted."""
    counted: Counted | None
    """None where the bytes are counted with another message, or nobody knows them."""


def asked(crossing: Crossing, call: Call, size: int | None) -> Draft:
    """The message that a call is; `size` is what gRPC measures of it."""
    turn = crossing.round if isinstance(crossing.round, int) else call.of(crossing.round)
    if isinstance(turn, bool) or not isinstance(turn, int) or turn < 0:
        raise UsageError(f"the round is {type(turn).__name__}; give a whole number from 0 up")
    sender, receiver = call.text("sender", crossing.sender), call.text("receiver", crossing.receiver)
    head = Message(call.text("kind", crossing.kind), sender, receiver, turn)
    arrays = call.arrays(crossing.tensors)
    ids = None if crossing.ids is None or arrays is None else call.of(crossing.ids)
    return _draft(head, ids, arrays, crossing.precision, size)


def answered(question: Message, answer: Answer, result: Call, size: int | None) -> Draft:
    """The message that a return value is; the call's parties, round and ids are those of `question`."""
    head = Message(result.text("kind", answer.kind), question.receiver, question.sender, question.round)
    arrays = result.arrays(answer.tensors)
    ids = question.sample_ids or None
    if answer.ids is not None and arrays is not None:
        ids = result.of(answer.ids)
    return _draft(head, ids, arrays, answer.precision, size)


def _draft(head: Message, ids: Any, arrays: Any, given: Precision | None, size: int | None) -> Draft:
    """A message of copies, which is the head alone where nothing is to be filed."""
    by_grpc = None if size is None else Counted(head.kind, size, "grpc")
    if arrays is None:
        return Draft(head, False, by_grpc)
    found, names = copied(arrays), ids_of(ids)
    if ids is not None:
        check_rows(names, found.tensors)
    check_forms(head.kind, found.tensors)
    for name in KINDS & found.tensors.keys() - {head.kind}:  # it would be read by no attack, and look as if unexposed
        raise UsageError(
            f"{name!r} is filed as a tensor of {head.kind!r}; give a Crossing of the kind {name!r} as well"
        )
    precision = precision_of(found.kinds, given)
    message = replace(head, sample_ids=names, tensors=found.tensors, precision=precision)
    check_names(message)
    by_tensors = Counted(head.kind, found.bytes if given is None else message.payload, "tensors")
    return Draft(message, True, by_grpc or by_tensors)


def together(drafts: Sequence[Draft]) -> list[Draft]:
    """Messages that one request carried: what gRPC measured of it counts once, under all their kinds."""
    counted = [draft.counted for draft in drafts if draft.counted is not None and draft.counted.measured == "grpc"]
    if not counted:
        return list(drafts)
    whole = counted[0]._replace(kind=" + ".join(dict.fromkeys(one.kind for one in counted)))
    return [draft._replace(counted=None if at else whole) for at, draft in enumerate(drafts)]
