"""A server from its settings: store, roles, training, health, reflection, TLS; started, and ended in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import torch
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ..backbone import load_backbone
from ..cache.store import Store
from ..errors import SidelightError, UsageError, place
from . import network_pb2 as schema
from .access import Access, host_and_port, is_loopback, read_tokens
from .chunks import ROOM
from .house import House
from .logs import Log, worded
from .resident import Resident
from .service import NAME, Limits, Service, handlers
from .turns import Turns

GRACE = 5.0
"""Seconds that calls may take to end when the server is stopped."""


@dataclass(frozen=True)
class ServerSettings:
    """What `sidelight serve` is told."""

    listen: str
    store: Path
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    plain_text: bool = False
    """Serve without TLS beyond this machine."""
    anybody: bool = False
    """Let in whoever comes, beyond this machine."""
    backbone: str = ""
    """For protocols in which the server runs a part of it."""
    quota: int = 4 << 30
    """Bytes of activations and differences kept for a device."""
    capacity: int = 64 << 30
    """Bytes of all devices' together."""
    devices: int = 64
    """Whose roles are held in memory at a time."""
    threads: int = 1
    """That train; each takes one core, so that one seed gives one result whatever their number."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        host, _ = host_and_port(self.listen)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("a certificate needs its key and a key its certificate; give --tls-cert and --tls-key")
        if self.client_ca is not None and self.tls_cert is None:
            raise UsageError("client certificates need TLS; give --tls-cert and --tls-key with --client-ca")
        if self.tls_cert is None and not is_loopback(host) and not self.plain_text:
            raise UsageError(
                f"{host} can be reached from elsewhere, and without TLS all can be read on the way; give --tls-cert "
                "and --tls-key, or say --plain-text"
            )
        if self.tokens is None and self.client_ca is None and not is_loopback(host) and not self.anybody:
            raise UsageError(
                f"{host} can be reached from elsewhere, and nobody has to show who they are; give --tokens or "
                "--client-ca, or say --anybody"
            )

    @property
    def protection(self) -> str:
        """What protects the connection."""
        if self.tls_cert is None:
            return "plain text"
        return "TLS" if self.client_ca is None else "mutual TLS"


class Running:
    """A server that is up."""

    def __init__(self, settings: ServerSettings, log: Log) -> None:
        """Open everything but the port; raises UsageError where a file or the store cannot be used."""
        self._settings, self._log = settings, log
        tokens = None if settings.tokens is None else read_tokens(settings.tokens)
        self._credentials = credentials(settings)
        backbone = load_backbone(settings.backbone) if settings.backbone else None
        torch.set_num_threads(1)
        self._store = Store(settings.store, settings.quota, settings.capacity, self._evicted)
        self._turns = Turns(settings.threads, self._turn_failed)
        access = Access(tokens, settings.client_ca is not None)
        house = House(self._store, backbone, settings.devices)
        self._service = Service(access, house, self._turns, settings.limits, settings.quota, log)

    async def run(self, ready: Callable[[int], None], over: asyncio.Event) -> None:
        """Serve until `over` is set; `ready` is told the port."""
        server = grpc.aio.server(options=options())
        server.add_generic_rpc_handlers((handlers(self._service),))
        healthy = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        reflection.enable_server_reflection(
            (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server, _pool_with_schema()
        )
        port = self._bound(server)
        await server.start()
        await healthy.set(NAME, health_pb2.HealthCheckResponse.SERVING)
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        self._log.say(
            "serving", address=f"{host_and_port(self._settings.listen)[0]}:{port}", protection=self._settings.protection
        )
        ready(port)
        await over.wait()
        await healthy.enter_graceful_shutdown()
        await server.stop(GRACE)
        self._service.close()
        self._turns.close()
        self._store.close()
        self._log.say("stopped")

    def _bound(self, server: grpc.aio.Server) -> int:
        try:
            if self._credentials is None:
                return server.add_insecure_port(self._settings.listen)
            return server.add_secure_port(self._settings.listen, self._credentials)
        except RuntimeError:
            raise UsageError(
                f"cannot listen on {self._settings.listen}; give an address and a port that are free"
            ) from None

    def _evicted(self, device: str) -> None:
        self._log.say("evicted", device=device)

    def _turn_failed(self, resident: Resident, error: Exception) -> None:
        event = "halted" if isinstance(error, SidelightError) else "failed"
        self._log.say(event, device=resident.device, reason=worded(place(error)))


def serve(settings: ServerSettings, log: Log, ready: Callable[[int], None] = lambda port: None) -> None:
    """Serve until the process is asked to end."""

    async def whole() -> None:
        over = asyncio.Event()
        for one in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(one, over.set)
        await running.run(ready, over)

    running = Running(settings, log)
    asyncio.run(whole())


def credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """What TLS needs; None for plain text."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    pair = (read_pem(settings.tls_key), read_pem(settings.tls_cert))
    authority = None if settings.client_ca is None else read_pem(settings.client_ca)
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def read_pem(path: Path) -> bytes:
    """A PEM file's bytes; raises UsageError."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist; give a PEM file")
    data = path.read_bytes()
    if b"-----BEGIN " not in data:
        raise UsageError(f"{path} is no PEM file; give one that begins with -----BEGIN")
    return data


def options() -> list[tuple[str, int]]:
    """Bounds that gRPC itself keeps."""
    return [
        ("grpc.max_receive_message_length", ROOM),
        ("grpc.max_send_message_length", ROOM),
        ("grpc.max_concurrent_streams", 8),
        ("grpc.max_metadata_size", 8192),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _pool_with_schema() -> object:
    """Where reflection finds the service's description."""
    return schema.DESCRIPTOR.pool
