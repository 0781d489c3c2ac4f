"""Listeners: grpcio servers on an address, with limits that no client can stretch."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from meshca.errors import Misconfigured

Register = Callable[[grpc.aio.Server], str]
"""Adds a service to a server and returns its full name."""

_MAX_METADATA = 24 * 1024
"""Bytes of headers: a token of 16 KiB and what is around it. HTTP/2's default of 8 KiB would be too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener grants."""

    message: int
    """Bytes of a request."""
    streams: int
    """Concurrent calls of one connection."""
    in_flight: int
    """Concurrent calls of all connections; more are told RESOURCE_EXHAUSTED, which clients retry."""
    connection_age: timedelta
    connection_grace: timedelta
    connection_idle: timedelta

    def options(self) -> list[tuple[str, int]]:
        """gRPC's names for them."""
        milliseconds = timedelta(milliseconds=1)
        return [
            ("grpc.max_receive_message_length", self.message),
            ("grpc.max_metadata_size", _MAX_METADATA),
            ("grpc.absolute_max_metadata_size", _MAX_METADATA),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.max_connection_age_ms", self.connection_age // milliseconds),
            ("grpc.max_connection_age_grace_ms", self.connection_grace // milliseconds),
            ("grpc.max_connection_idle_ms", self.connection_idle // milliseconds),
            # Clients may ping every 15 s, as at istiod (istio.md §2.5); more often is abuse.
            ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
            ("grpc.so_reuseport", 1),
        ]


@dataclass(frozen=True, slots=True)
class ServingKeyPair:
    """What a TLS listener shows: PEM."""

    key: bytes
    chain: bytes


class Listener:
    """One address, and the services behind it."""

    def __init__(
        self, name: str, address: str, *, limits: Limits, services: list[Register],
        key_pair: Callable[[], ServingKeyPair] | None = None,
    ) -> None:  # fmt: skip
        """``key_pair`` gives the present serving certificate of a TLS listener, asked at each handshake;
        without it the listener is plaintext."""
        self.name = name
        self.address = address
        self._server = grpc.aio.server(options=limits.options(), maximum_concurrent_rpcs=limits.in_flight)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [register(self._server) for register in services]
        self._names = ["", *names]
        reflection.enable_server_reflection(
            [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME],
            self._server,
        )
        self._key_pair = key_pair

    async def start(self) -> None:
        """Bind and serve. Raises Misconfigured when the address cannot be had."""
        if self.address.startswith("unix:"):
            _clear_socket(Path(self.address.removeprefix("unix:")))
        try:
            if self._key_pair is None:
                port = self._server.add_insecure_port(self.address)
            else:
                port = self._server.add_secure_port(self.address, _credentials(self._key_pair))
        except RuntimeError:
            port = 0
        if port == 0:
            raise Misconfigured(f"listener {self.name} cannot have {self.address}: it is taken, or not an address here")
        await self._server.start()

    async def say_healthy(self, healthy: bool) -> None:
        """What gRPC health checking answers, for the listener and for each service."""
        status = health_pb2.HealthCheckResponse.SERVING if healthy else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace: timedelta) -> None:
        """Take no new calls; those in flight have until the grace ends."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace.total_seconds())


def _credentials(key_pair: Callable[[], ServingKeyPair]) -> grpc.ServerCredentials:
    """TLS 1.2 or later without client certificates: an expired one would lock its proxy out (DESIGN §5).

    grpcio asks at each handshake, so that a renewed certificate needs no restart and no connection is cut.
    """
    shown: list[ServingKeyPair] = [key_pair()]

    def configuration(pair: ServingKeyPair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)])

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        present = key_pair()
        if present is shown[0]:
            return None  # what grpcio has is current
        shown[0] = present
        return configuration(present)

    return grpc.dynamic_ssl_server_credentials(
        configuration(shown[0]),
        fetch,  # type: ignore[arg-type] # grpcio documents None as "go on with what you have"
        require_client_authentication=False,
    )


def _clear_socket(path: Path) -> None:
    """Make room for a socket in a folder that only we may enter. Raises Misconfigured."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_mode & 0o077:
            raise Misconfigured(
                f"the folder of socket {path} can be entered by others: make it 0700, since its mode guards the socket"
            )
        if path.exists():
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise Misconfigured(f"socket {path} is in use: another meshca serves there")
            path.unlink()
    except OSError as error:
        raise Misconfigured(f"socket {path} cannot be made: {error.strerror}") from None


async def drain(listeners: list[Listener], grace: timedelta) -> None:
    """Stop all of them together."""
    await asyncio.gather(*(listener.stop(grace) for listener in listeners))
