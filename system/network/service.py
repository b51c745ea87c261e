"""The service that devices call: lets in who shows the right token or certificate, takes messages in pieces, answers.

Memory is bounded: what requests hold together (`room`), what a request may hold (`largest`), how many of a device are
at work at a time (`AT_ONCE`), answers that nobody reads among them, and how long a piece of a request or of an answer
may take (`patience`). A request whose bytes are no message is refused before anything of it reaches a role.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc

from ..errors import ProtocolError, SidelightError, StoreFull, UsageError
from ..errors import place as where
from ..message import Message, encode
from . import network_pb2 as schema
from .access import Access, Refused
from .chunks import pieces
from .house import Full, House
from .logs import Log, worded
from .resident import Answered, NotJoined, Resident, received
from .room import Places, Room
from .terms import place, read
from .turns import Turns

T = TypeVar("T")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

NAME = "sidelight.v1.Sidelight"
FORGET = "forget"
"""The kind of a message that, without sample ids, asks for everything of the device to go."""
LEAST_RATE = 1 << 14
"""Bytes a second below which a request falls behind, and is hung up on once it is `patience` behind."""
HANDLERS = 8
"""Messages that are handled at a time."""
AT_ONCE = 3
"""Requests of one device that are taken at a time: more than one, since one may have broken off unseen."""
HEARTBEAT = 2.0
"""Seconds between two signs that training goes on."""
SHORTEST, LONGEST = 0.001, 0.05
"""Seconds between two looks whether it is over: doubled each time."""

STATUS: dict[type[SidelightError], grpc.StatusCode] = {
    StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Full: grpc.StatusCode.UNAVAILABLE,
    NotJoined: grpc.StatusCode.FAILED_PRECONDITION,
    ProtocolError: grpc.StatusCode.INVALID_ARGUMENT,
    UsageError: grpc.StatusCode.FAILED_PRECONDITION,
}


class TooLarge(SidelightError):
    """More than the server takes."""


@dataclass(frozen=True)
class Limits:
    """What a server holds at most."""

    largest: int = 64 << 20
    """Bytes of a message; decoded, its values take no more."""
    room: int = 256 << 20
    """Bytes of all requests that are being received or answered."""
    patience: float = 30.0
    """Seconds that a piece of a request may take to come, and one of an answer to be read."""


class Service:
    """Join and Exchange."""

    def __init__(self, access: Access, house: House, turns: Turns, limits: Limits, quota: int, log: Log) -> None:
        self._access, self._house, self._turns, self._limits, self._log = access, house, turns, limits, log
        self._quota = quota
        self._room, self._places = Room(limits.room), Places(AT_ONCE)
        self._pool = ThreadPoolExecutor(HANDLERS, thread_name_prefix="handler")

    def close(self) -> None:
        """Wait for what is being handled."""
        self._pool.shutdown()

    async def join(self, terms: schema.Terms, context: Context) -> schema.Joined:
        device = await self._device(context)

        def joined() -> Resident:
            return self._house.join(device, read(terms), place(terms))

        await self._safely(context, device, "join", joined)
        self._log.say("joined", device=device)
        return schema.Joined(largest=self._limits.largest, quota=self._quota)

    async def exchange(self, chunks: AsyncIterator[schema.Chunk], context: Context) -> None:
        device = await self._device(context)
        async with self._places.taken(device):
            began = time.monotonic()
            first = await self._piece(chunks, context)
            if first is None or not 0 < first.size <= self._limits.largest:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _too_large(self._limits.largest))
                return
            async with self._room.taken(first.size):
                data = await self._whole(first, chunks, context)
                message = await self._decoded(data, device, context)
                answer = await self._answer(data, message, device, context)
            self._log.say(
                "answered",
                device=device,
                kind=message.kind if message.kind.isidentifier() else "other",
                samples=len(message.sample_ids),
                bytes=len(data),
                answer_bytes=len(answer.data),
                wanted=answer.samples,
                seconds=round(time.monotonic() - began, 4),
            )
            read = await self._all_read(answer.data, context)
        if not read:  # said outside: it is not heard either before what was sent is read
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer was read too slowly; ask again")

    async def _decoded(self, data: bytes, device: str, context: Context) -> Message:
        return await self._safely(context, device, "decode", lambda: received(data, self._limits.largest // 4))

    async def _answer(self, data: bytes, message: Message, device: str, context: Context) -> Answered:
        """What a role answers, once it can."""
        if message.kind == FORGET and not message.sample_ids:
            await self._safely(context, device, FORGET, lambda: self._house.leave(device))
            return Answered(encode(Message("ready", message.receiver, message.sender)), 0)
        resident = await self._safely(context, device, message.kind, lambda: self._house.of(device))
        try:
            if message.tensors and not resident.due(message):  # they would be held as long as training lasts
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a request for training carries no tensors")
            await self._train(resident, message, context)
            answer = await self._safely(context, device, message.kind, lambda: resident.answer(data, message))
            self._turns.join(resident)
        finally:
            resident.leave()
        return answer

    async def _all_read(self, data: bytes, context: Context) -> bool:
        """Whether a device took an answer, each piece in time."""
        try:
            for piece in pieces(data):
                await asyncio.wait_for(context.write(schema.Answer(data=bytes(piece))), self._limits.patience)
        except TimeoutError:
            return False
        return True

    # --- a request -------------------------------------------------------------------------------------------------

    async def _device(self, context: Context) -> str:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        names = [name.decode(errors="replace") for name in context.auth_context().get("x509_common_name", ())]
        try:
            return self._access.device(metadata, names)
        except Refused as error:
            code = grpc.StatusCode.PERMISSION_DENIED if error.known else grpc.StatusCode.UNAUTHENTICATED
            self._log.say("refused", status=code.name)
            await context.abort(code, str(error))
            raise

    async def _piece(
        self, chunks: AsyncIterator[schema.Chunk], context: Context, behind: float = 0.0
    ) -> schema.Chunk | None:
        """The next piece, or None at the end; `behind` are seconds by which those before it were too slow."""
        try:
            return await asyncio.wait_for(anext(aiter(chunks), None), max(self._limits.patience - behind, 0.0))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the request came too slowly; send it again")
            raise

    async def _whole(
        self,
        first: schema.Chunk,
        chunks: AsyncIterator[schema.Chunk],
        context: Context,
    ) -> bytes:
        data, piece, began = bytearray(), first, time.monotonic()
        while True:
            data += piece.data
            if len(data) > first.size:
                break
            behind = time.monotonic() - began - len(data) / LEAST_RATE
            following = await self._piece(chunks, context, max(behind, 0.0))
            if following is None:
                break
            piece = following
        if len(data) != first.size:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"{first.size} bytes were announced and another number came; send all"
            )
        return bytes(data)

    async def _train(self, resident: Resident, message: Message, context: Context) -> None:
        """Signs of life until the message can be answered, or training can do no more."""
        told, pause = time.monotonic(), SHORTEST
        if resident.due(message):
            return
        self._turns.join(resident)
        while self._turns.waits(resident) and not resident.due(message):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)
            if time.monotonic() - told >= HEARTBEAT:
                told = time.monotonic()
                done, total = resident.progress
                await context.write(schema.Answer(progress=schema.Progress(done=done, total=total)))

    async def _safely(self, context: Context, device: str, what: str, job: Callable[[], T]) -> T:
        """What a job gives; where it fails, the caller is told why, or, of our own mistakes, only that it did."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        except SidelightError as error:
            code = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)
            self._log.say("refused", device=device, status=code.name)
            await context.abort(code, str(error))
        except Exception as error:
            self._log.say("failed", device=device, reason=worded(where(error)))
            await context.abort(grpc.StatusCode.INTERNAL, f"the server failed at this {what}; its log says where")
        raise AssertionError("abort raises")


def _too_large(largest: int) -> str:
    return f"the request's first piece names no size from 1 to {largest} bytes; send smaller batches"


def handlers(service: Service) -> grpc.GenericRpcHandler:
    """The service's methods as gRPC takes them."""
    return grpc.method_handlers_generic_handler(
        NAME,
        {
            "Join": grpc.unary_unary_rpc_method_handler(
                service.join, schema.Terms.FromString, schema.Joined.SerializeToString
            ),
            "Exchange": grpc.stream_stream_rpc_method_handler(
                service.exchange, schema.Chunk.FromString, schema.Answer.SerializeToString
            ),
        },
    )
