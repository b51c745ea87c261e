"""One call that is recorded: read before it is made, filed once it was sent, then what it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...system.errors import UsageError
from ...system.message import Message
from . import crossing as calls
from .crossing import Answer, Call, Crossing, Draft

if TYPE_CHECKING:
    from .recording import Recording

Measure = Callable[[], int | None]
"""Bytes of a request or an answer; None where nobody measures them."""


def unmeasured() -> None:
    """Of a function's arguments, whose tensors are counted instead."""


class Exchange:
    """Nothing here raises: the recording keeps what goes wrong."""

    def __init__(
        self, recording: Recording, crossings: Sequence[Crossing], name: str = "", stream: bool = False
    ) -> None:
        self._recording, self._crossings = recording, crossings
        self._name = name or str(crossings[0].kind)
        self._stream = stream
        """Whether several messages are asked, so that none of them tells the ids of an answer."""
        self._questions: list[Message] = []
        self._waiting: list[Draft] = []
        self._begun = True
        recording.begin(1)

    def asked(self, call: Callable[[], Call], measure: Measure = unmeasured) -> None:
        """Copy what the call is made with: the recorded system may change it in place."""

        def read() -> list[Draft]:
            made, size = call(), measure()
            return calls.together([calls.asked(one, made, size) for one in self._crossings])

        drafts = self._recording.guard(f"a call of {self._name} cannot be filed", read) or []
        self._questions = [draft.message for draft in drafts]
        self._waiting.extend(drafts)

    def sent(self) -> None:
        """File what was asked."""
        waiting, self._waiting = self._waiting, []
        self._recording.file(waiting)

    def answered(self, result: Any, measure: Measure = unmeasured) -> None:
        """File a return value, for each crossing that has an answer."""

        def read() -> list[Draft]:
            size = measure()
            pairs = zip(self._crossings, self._questions, strict=True)
            found = [self._answer(question, one.answer, result, size) for one, question in pairs if one.answer]
            return calls.together(found)

        if self._questions and any(one.answer for one in self._crossings):
            drafts = self._recording.guard(f"an answer of {self._name} cannot be filed", read)
            self._recording.file(drafts or [])

    def failed(self) -> None:
        """The call raised: what waits was not sent, as far as anybody here knows."""
        self._waiting = []
        if self._begun:
            self._recording.lose()

    def ended(self, call: Callable[[], bool]) -> None:
        """The call has ended, well where `call` says so."""
        if not self._recording.guard(f"the end of {self._name} cannot be seen", call):
            self.failed()
        self.over()

    def over(self) -> None:
        """The call has ended; more than once is once."""
        if self._begun:
            self._begun = False
            self._recording.begin(-1)

    def _answer(self, question: Message, answer: Answer, result: Any, size: int | None) -> Draft:
        if self._stream and answer.ids is None:
            raise UsageError("it answers a stream of requests; say by Answer(ids=...) whose answer it is")
        return calls.answered(question, answer, Call((result,), {}, partial(field, result)), size)


def field(value: Any, name: str) -> Any:
    """What stands under a name in a request or a return value."""
    try:
        return value[name] if isinstance(value, dict) else getattr(value, name)
    except (AttributeError, KeyError):
        raise UsageError(f"{type(value).__name__} has no field {name!r}; give a function that reads it") from None
