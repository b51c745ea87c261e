"""A gRPC interceptor that files the methods of a foreign service, on a server or on a client's channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from ...system.errors import UsageError
from .crossing import Call, Crossing
from .exchange import Exchange, field

if TYPE_CHECKING:
    from .recording import Recording


class Interceptor(
    grpc.ServerInterceptor,
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Methods that are not named pass untouched.

    A server's requests are filed when they have arrived. A client's are when the first answer shows that they did;
    those of a stream when they are handed to gRPC, which does not tell of each.
    """

    def __init__(self, recording: Recording, methods: Mapping[str, Crossing | Sequence[Crossing]]) -> None:
        for name in methods:
            if name.count("/") != 2 or not name.startswith("/"):
                raise UsageError(f"{name!r} is no method's full name; gRPC calls them /package.Service/Method")
        self._recording = recording
        several = {name: (of,) if isinstance(of, Crossing) else tuple(of) for name, of in methods.items()}
        self._methods = {name: crossings for name, crossings in several.items() if crossings}

    def _exchange(self, method: Any, stream: bool) -> Exchange | None:
        name = method.decode() if isinstance(method, bytes) else method
        crossings = self._methods.get(name)
        return Exchange(self._recording, crossings, name, stream) if crossings else None

    # --- a server's -----------------------------------------------------------------------------------------------

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler, method = continuation(handler_call_details), handler_call_details.method
        if handler is None or method not in self._methods:
            return handler
        made, behave = _SERVED[handler.request_streaming, handler.response_streaming]
        inner = getattr(handler, made.removesuffix("_rpc_method_handler"))

        def recorded(request: Any, context: Any) -> Any:
            exchange = self._exchange(method, handler.request_streaming)
            assert exchange is not None
            return behave(exchange, inner, request, context)

        return getattr(grpc, made)(recorded, handler.request_deserializer, handler.response_serializer)

    # --- a client's -----------------------------------------------------------------------------------------------

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange(client_call_details.method, False)
        if exchange is None:
            return continuation(client_call_details, request)
        _ask(exchange, request)
        return _closing(exchange, lambda: continuation(client_call_details, request))

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        exchange = self._exchange(client_call_details.method, True)
        if exchange is None:
            return continuation(client_call_details, request_iterator)
        return _closing(exchange, lambda: continuation(client_call_details, Requests(exchange, request_iterator)))

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange(client_call_details.method, False)
        if exchange is None:
            return continuation(client_call_details, request)
        _ask(exchange, request)
        return Answers(exchange, continuation(client_call_details, request))

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        exchange = self._exchange(client_call_details.method, True)
        if exchange is None:
            return continuation(client_call_details, request_iterator)
        return Answers(exchange, continuation(client_call_details, Requests(exchange, request_iterator)))


class Requests:
    """The same requests, each filed when it is taken; any thread may take the next."""

    def __init__(self, exchange: Exchange, requests: Any) -> None:
        self._exchange, self._requests = exchange, iter(requests)

    def __iter__(self) -> Requests:
        return self

    def __next__(self) -> Any:
        request = next(self._requests)
        _arrived(self._exchange, request)
        return request


class Answers:
    """A call and iterator of answers, as gRPC gives it, that files each answer when it is taken."""

    def __init__(self, exchange: Exchange, call: Any) -> None:
        self._exchange, self._call = exchange, call

    def __iter__(self) -> Answers:
        return self

    def __next__(self) -> Any:
        try:
            answer = next(self._call)
        except StopIteration:  # it ended well
            self._exchange.sent()
            self._exchange.over()
            raise
        except BaseException:
            self._exchange.failed()
            self._exchange.over()
            raise
        self._exchange.sent()
        self._exchange.answered(answer, partial(size_of, answer))
        return answer

    def __del__(self) -> None:
        self._exchange.over()

    def cancel(self) -> Any:
        self._exchange.over()
        return self._call.cancel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def size_of(thing: Any) -> int | None:
    """Bytes of a request or an answer as gRPC carries it, before compression and framing; None where it cannot tell."""
    if isinstance(thing, bytes | bytearray | memoryview):
        return len(thing)
    measure = getattr(thing, "ByteSize", None)
    return measure() if callable(measure) else None


def _ask(exchange: Exchange, request: Any) -> None:
    exchange.asked(lambda: Call((request,), {}, partial(field, request)), partial(size_of, request))


def _arrived(exchange: Exchange, request: Any) -> None:
    _ask(exchange, request)
    exchange.sent()


def _closing(exchange: Exchange, call: Callable[[], Any]) -> Any:
    """A call with one answer, filed when it has come; it may be a future."""
    try:
        made = call()
    except BaseException:
        exchange.failed()
        exchange.over()
        raise
    made.add_done_callback(lambda done: exchange.ended(lambda: _kept(exchange, done)))
    return made


def _kept(exchange: Exchange, call: Any) -> bool:
    """Whether a call ended well; its answer is filed then."""
    if call.cancelled() or call.code() is not grpc.StatusCode.OK:
        return False
    answer = call.result()
    exchange.sent()
    exchange.answered(answer, partial(size_of, answer))
    return True


# --- behaviours of a server's handlers -----------------------------------------------------------------------------


def _one_answer(exchange: Exchange, respond: Callable[[], Any]) -> Any:
    try:
        answer = respond()
        exchange.answered(answer, partial(size_of, answer))
        return answer
    except BaseException:
        exchange.failed()
        raise
    finally:
        exchange.over()


def _several_answers(exchange: Exchange, respond: Callable[[], Any]) -> Iterator[Any]:
    try:
        for answer in respond():
            exchange.answered(answer, partial(size_of, answer))
            yield answer
    except GeneratorExit:  # the client has left
        raise
    except BaseException:
        exchange.failed()
        raise
    finally:
        exchange.over()


def _unary_unary(exchange: Exchange, inner: Any, request: Any, context: Any) -> Any:
    _arrived(exchange, request)
    return _one_answer(exchange, lambda: inner(request, context))


def _stream_unary(exchange: Exchange, inner: Any, requests: Any, context: Any) -> Any:
    return _one_answer(exchange, lambda: inner(Requests(exchange, requests), context))


def _unary_stream(exchange: Exchange, inner: Any, request: Any, context: Any) -> Iterator[Any]:
    _arrived(exchange, request)
    return _several_answers(exchange, lambda: inner(request, context))


def _stream_stream(exchange: Exchange, inner: Any, requests: Any, context: Any) -> Iterator[Any]:
    return _several_answers(exchange, lambda: inner(Requests(exchange, requests), context))


_SERVED: Mapping[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary_rpc_method_handler", _unary_unary),
    (False, True): ("unary_stream_rpc_method_handler", _unary_stream),
    (True, False): ("stream_unary_rpc_method_handler", _stream_unary),
    (True, True): ("stream_stream_rpc_method_handler", _stream_stream),
}
"""By whether requests and answers stream: gRPC's maker of the handler, and what it does."""
