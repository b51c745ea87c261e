"""The wire on which a device reaches a server in another process: the same messages, the same bytes.

What is posted is sent by a thread of its own, a few messages behind the device's computing. What breaks is tried again
with the same bytes, which the server takes once; what is refused is raised as the error that it is.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from ..errors import ProtocolError, SidelightError, StoreFull, UsageError
from ..message import Message, decode
from ..protocols.agreed import Agreed
from ..wire import Wire
from . import network_pb2 as schema
from .access import AUTHORIZATION, BEARER, DEVICE, host_and_port, is_loopback, read_token
from .chunks import ROOM, asked
from .runs import Place
from .server import read_pem
from .service import NAME
from .silence import watched
from .terms import written

AHEAD = 3
"""Messages that may wait to be sent."""
AT_FIRST = 20.0
"""Seconds for which a server is tried that has never answered: more likely than not the address is wrong."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a request is tried again: doubled each time, and spread at random."""
FIRST_QUESTION, LAST_QUESTION = 0.02, 1.0
"""Seconds until a device that was told to wait asks again: doubled each time."""
AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNKNOWN,
)

LARGEST_ANSWER = 1 << 30
"""Bytes of the largest answer that a device takes."""
REFUSED: dict[grpc.StatusCode, type[SidelightError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: ProtocolError,
    grpc.StatusCode.FAILED_PRECONDITION: UsageError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: StoreFull,
}
DISTRUST = "certificate"
"""What gRPC's reason names where one side does not trust the other."""

T = TypeVar("T")
OnProgress = Callable[[int, int], None]


class Unreachable(SidelightError):
    """A server that does not answer."""


@dataclass(frozen=True)
class Connection:
    """How a device reaches its server."""

    server: str
    name: str = "device"
    token: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_text: bool = False
    """Speak without TLS beyond this machine."""
    silence: float = 30.0
    """Seconds without a sign of the server after which a request is tried again."""
    patience: float = 300.0
    """Seconds for which it is tried again."""

    def __post_init__(self) -> None:
        host_and_port(self.server)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("a certificate needs its key and a key its certificate; give --tls-cert and --tls-key")

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken: always, but on this machine or where plain text was asked for by name."""
        if self.tls_ca is not None or self.tls_cert is not None:
            return True
        return not (self.plain_text or is_loopback(host_and_port(self.server)[0]))


def channel(connection: Connection) -> grpc.Channel:
    """An open channel; raises UsageError where a file cannot be used."""
    options = [
        ("grpc.max_receive_message_length", ROOM),
        ("grpc.max_send_message_length", ROOM),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.enable_retries", 0),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
    ]
    if not connection.secure:
        return grpc.insecure_channel(connection.server, options)
    root, key, cert = (
        None if path is None else read_pem(path)
        for path in (connection.tls_ca, connection.tls_key, connection.tls_cert)
    )
    return grpc.secure_channel(connection.server, grpc.ssl_channel_credentials(root, key, cert), options)


class DeviceWire(Wire):
    """Requests to one server."""

    def __init__(self, connection: Connection, progress: OnProgress = lambda done, total: None) -> None:
        super().__init__({}, lambda message: None)
        self._connection, self._progress = connection, progress
        token = None if connection.token is None else read_token(connection.token)
        shown = () if token is None else ((AUTHORIZATION, BEARER + token),)
        self._metadata: tuple[tuple[str, str], ...] = ((DEVICE, connection.name), *shown)
        self._channel = channel(connection)
        self._join = self._channel.unary_unary(
            f"/{NAME}/Join", schema.Terms.SerializeToString, schema.Joined.FromString
        )
        self._exchange = self._channel.stream_stream(
            f"/{NAME}/Exchange", schema.Chunk.SerializeToString, schema.Answer.FromString
        )
        self._waiting: queue.Queue[tuple[Message, bytes] | None] = queue.Queue(AHEAD)
        self._wrong: Exception | None = None
        self._waits = 0
        self._dropped, self._alive = threading.Event(), 0.0
        self.resent = 0
        """Bytes that were sent in vain, because a request had to be tried again."""
        self._sender = threading.Thread(target=self._send, name="sender", daemon=True)
        self._sender.start()

    def join(self, agreed: Agreed, place: Place | None = None) -> schema.Joined:
        """Agree with the server, on a place in a run of several devices too; raises UsageError where it does not."""
        terms = written(agreed, place)
        found = self._patiently(lambda: self._join(terms, timeout=self._connection.silence, metadata=self._metadata))
        self._alive = time.monotonic()
        return found

    def post(self, message: Message) -> None:
        self._raise()
        self._waiting.put((message, self._encoded(message)))

    def request(self, message: Message) -> Message:
        self._waiting.join()
        self._raise()
        answer = super().request(message)
        self._waits = self._waits + 1 if answer.kind == "wait" else 0
        if self._waits:  # for other devices, who may be long: a question counts, and not the time
            time.sleep(min(FIRST_QUESTION * 2 ** min(self._waits - 1, 16), LAST_QUESTION))
        return answer

    def close(self, drop: bool = False) -> None:
        """Send what waits, or drop it, and hang up."""
        if drop:
            self._dropped.set()
            self._wrong = self._wrong or Unreachable("the connection was given up")
            self._channel.close()  # ends what is under way
        self._waiting.put(None)
        self._sender.join()
        self._channel.close()

    def _send(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            try:
                if self._wrong is None:
                    self._carry(*waiting)
            except Exception as error:  # whatever it is: who waits for the sender is told
                self._wrong = error
            finally:
                self._waiting.task_done()
        self._waiting.task_done()

    def _raise(self) -> None:
        if self._wrong is not None:
            raise self._wrong

    def _carry(self, message: Message, data: bytes) -> Message:
        answered = self._patiently(lambda: self._once(data), len(data))
        answer = decode(answered)
        self.traffic.count(message, len(data))
        self.traffic.count(answer, len(answered))
        return answer

    def _once(self, data: bytes) -> bytes:
        call = self._exchange(asked(data), metadata=self._metadata)
        answered = bytearray()
        with watched(call.cancel, self._connection.silence) as seen:
            for answer in call:
                seen()
                self._alive = time.monotonic()
                if answer.WhichOneof("part") == "progress":
                    self._progress(answer.progress.done, answer.progress.total)
                answered += answer.data
                if len(answered) > LARGEST_ANSWER:
                    call.cancel()
                    raise ProtocolError(f"the server's answer has more than {LARGEST_ANSWER} bytes; it was cut off")
        return bytes(answered)

    def _patiently(self, call: Callable[[], T], size: int = 0) -> T:
        """What a call gives, tried again until the server has shown no sign of life for as long as patience lasts."""
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                wrong = said(self._connection, error.code(), error.details() or "")
                patience = self._connection.patience if self._alive else min(self._connection.patience, AT_FIRST)
                over = time.monotonic() - max(began, self._alive) >= patience
                if not isinstance(wrong, Unreachable) or over or self._dropped.is_set():
                    raise wrong from None
            except ValueError as error:  # gRPC says so of a channel that is closed
                raise Unreachable("the connection was given up") from error
            self.resent += size
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)


def said(connection: Connection, code: grpc.StatusCode, details: str) -> SidelightError:
    """What a failed call means for the user."""
    where, reason = f"the server at {connection.server}", _first_line(details)
    if code in REFUSED:
        return REFUSED[code](details)
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return UsageError(f"{where} does not let this device in: {details}")
    host = host_and_port(connection.server)[0].lower()
    if code is grpc.StatusCode.UNAVAILABLE and DISTRUST in details.lower().replace(host, ""):
        return UsageError(
            f"{where} and this device do not trust each other ({reason}); give --tls-ca, and where the server asks for "
            "them --tls-cert and --tls-key, that are valid today"
        )
    if code in AGAIN:
        return Unreachable(f"{where} does not answer ({reason}); try again later")
    return SidelightError(f"{where} refused: {details}")


def _first_line(details: str) -> str:
    return details.strip().splitlines()[0][:200] if details.strip() else "no reason given"
