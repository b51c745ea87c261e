"""A recording: what crosses in a foreign system goes into view/, public/ and truth/, all or nothing."""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from ...system import files
from ...system.errors import UsageError, place
from ...system.message import Message, Party
from ...system.public import Public
from ...system.roles import SERVER
from ...system.view import ViewWriter
from .crossing import Call, Crossing, Draft
from .exchange import Exchange
from .forms import row_shapes
from .naming import argument_names

if TYPE_CHECKING:  # a recorded server need load no gRPC, and none the backbones that the truth's maker does
    from ...system.truth import Truth
    from .methods import Interceptor

P = ParamSpec("P")
R = TypeVar("R")
LOG = logging.getLogger("sidelight.recording")
PATIENCE = 5.0
"""Seconds for which leaving waits for calls that are still under way."""


class Recording:
    """Files what functions and gRPC methods are called with and return, as messages of the view of some parties.

    Nothing that goes wrong here reaches the recorded system: the first fault ends the recording with one line in the
    log, and leaving the block raises it. Calls may come from several threads.
    """

    def __init__(
        self,
        out: Path | str,
        *,
        public: Public,
        parties: frozenset[Party] | set[Party] = frozenset({SERVER}),
        truth: Truth | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`facts` go into the view's manifest, those of `public` where absent."""
        self.public, self.truth, self.facts = public, truth, facts
        """May be set until the block ends."""
        self._out, self._parties = Path(out), frozenset(parties)
        self._held: dict[str, dict[str, torch.Tensor]] = {}
        self._lock = threading.Condition()
        self._writer: ViewWriter | None = None
        self._fault: Exception | None = None
        self._shapes: dict[tuple[str, str], tuple[int, ...]] = {}
        self._steps: Counter[tuple[str, Party]] = Counter()
        self._traffic: dict[tuple[str, Party, Party, str], list[int]] = {}
        self._under_way = self._failed = self._filed = 0

    def __enter__(self) -> Recording:
        self._inside: AbstractContextManager[None] = self._opened()
        self._inside.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._inside.__exit__(kind, error, trace)

    def function(self, called: Callable[P, R], crossing: Crossing, *more: Crossing) -> Callable[P, R]:
        """The same function, whose calls are filed, as messages of several kinds where there are more crossings.

        A coroutine function stays one.
        """
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise UsageError("a generator function is not recorded; wrap the function that takes each of its values")
        crossings = (crossing, *more)
        named = argument_names(called, crossings)

        @functools.wraps(called, updated=())
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.exchange(crossings) as exchange:
                exchange.asked(lambda: Call(args, kwargs, lambda name: named(args, kwargs, name)))
                result = called(*args, **kwargs)
                exchange.sent()
                exchange.answered(result)
            return result

        @functools.wraps(called, updated=())
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with self.exchange(crossings) as exchange:
                exchange.asked(lambda: Call(args, kwargs, lambda name: named(args, kwargs, name)))
                result = await called(*args, **kwargs)  # type: ignore[misc]
                exchange.sent()
                exchange.answered(result)
            return result

        return awaited if inspect.iscoroutinefunction(called) else recorded  # type: ignore[return-value]

    def interceptor(self, methods: Mapping[str, Crossing | Sequence[Crossing]]) -> Interceptor:
        """For `grpc.server(interceptors=...)` or `grpc.intercept_channel`, at one end: methods by their full names."""
        from .methods import Interceptor

        return Interceptor(self, methods)

    def hold(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Say what the parties hold themselves, such as the `side_network` at a checkpoint."""
        self._held[name] = {key: tensor.detach().to("cpu", copy=True) for key, tensor in tensors.items()}

    @contextmanager
    def exchange(self, crossings: Sequence[Crossing]) -> Iterator[Exchange]:
        """One call, from its arguments to its last answer; an exception passes, and what was not sent is not filed."""
        exchange = Exchange(self, crossings)
        try:
            yield exchange
        except BaseException:
            exchange.failed()
            raise
        finally:
            exchange.over()

    # --- what exchanges call: none of it raises ------------------------------------------------------------------

    def begin(self, calls: int) -> None:
        """Count calls that begin, or with -1 one that ends."""
        with self._lock:
            self._under_way += calls
            self._lock.notify_all()

    def lose(self) -> None:
        """Count a call that raised."""
        with self._lock:
            self._failed += 1

    def guard(self, what: str, read: Callable[[], R]) -> R | None:
        """What a reader gives; None once anything has gone wrong, and where the recording is not open."""
        if self._writer is None or self._fault is not None:
            return None
        try:
            return read()
        except Exception as error:  # readers are other people's, and the recorded system must go on
            with self._lock:
                self._break(what, error)
            return None

    def file(self, drafts: list[Draft]) -> None:
        """Write messages, one after the other, and count their bytes."""
        with self._lock:
            for draft in drafts:
                if self._writer is None or self._fault is not None:
                    return
                try:
                    self._keep(draft, self._writer)
                except Exception as error:  # a full disk ends the recording, not what is recorded
                    self._break("filing a message", error)

    def _keep(self, draft: Draft, writer: ViewWriter) -> None:
        message = draft.message
        if draft.filed:
            self._refuse_others(message)
            key = (message.kind, message.sender)
            writer(replace(message, step=self._steps[key]))
            self._steps[key] += 1
            self._filed += bool({message.sender, message.receiver} & self._parties)
        if counted := draft.counted:
            ends = (counted.kind, message.sender, message.receiver, counted.measured)
            totals = self._traffic.setdefault(ends, [0, 0])
            totals[0] += 1
            totals[1] += counted.bytes

    def _refuse_others(self, message: Message) -> None:
        """Refuse rows of another shape than those that were filed before."""
        for name, shape in row_shapes(message).items():
            if (before := self._shapes.setdefault((message.kind, name), shape)) != shape:
                raise UsageError(f"a row of {name!r} has the shape {shape}, and {before} before; give one shape")

    def _break(self, what: str, error: Exception) -> None:
        """Remember the first fault."""
        if self._fault is None:
            self._fault = UsageError(f"{what}: {place(error)}")
            self._fault.__cause__ = error
            LOG.error("the recording stops, and what it records goes on: %s", self._fault)

    # --- opening and closing --------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Files go to a partial folder, which becomes `out` when the block ends well."""
        try:
            self._out.mkdir(parents=True, mode=files.PRIVATE)  # no other recording may take the name meanwhile
        except OSError as error:
            raise UsageError(
                f"{self._out} cannot be made ({error.strerror}); give a folder that is not there"
            ) from None
        try:
            with files.whole(self._out) as root:
                self._writer = ViewWriter(root / "view", self._parties)
                try:
                    yield
                    self._finish(root)
                finally:
                    with self._lock:
                        self._writer = None
        finally:
            with suppress(OSError):  # it is empty still where nothing was kept
                self._out.rmdir()

    def _finish(self, root: Path) -> None:
        """Wait for calls under way, and write what stands beside the messages."""
        with self._lock:
            self._lock.wait_for(lambda: self._under_way == 0, PATIENCE)
            writer, self._writer = self._writer, None
            if self._fault is not None:
                raise self._fault
            if not self._filed:
                named = ", ".join(sorted(self._parties))
                raise UsageError(f"nothing crossed to or from {named}; name the parties by which calls were filed")
            assert writer is not None
            ours = {"versions": {"sidelight": version("sidelight")}}
            writer.close(self._held, {**ours, **(self.public.facts if self.facts is None else self.facts)})
            self.public.save(root / "public")
            if self.truth is not None:
                self.truth.save(root / "truth")
            files.write_json(root / "run.json", self._about())

    def _about(self) -> dict[str, Any]:
        """run.json: bytes and messages by kind and direction, and what is missing."""
        traffic = [
            {"kind": kind, "sender": sender, "receiver": receiver, "messages": count, "bytes": size, "measured": how}
            for (kind, sender, receiver, how), (count, size) in self._traffic.items()
        ]
        return {"traffic": traffic, "failed_calls": self._failed, "unfinished_calls": self._under_way}
