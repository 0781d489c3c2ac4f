"""Asking again and again over one connection, and writing down what came."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshca.cli.fetching.clients import Client
from meshca.cli.fetching.requests import PrivateKey
from meshca.cli.fetching.verdict import Delivery, NotAcceptable
from meshca.cli.files import folder, write
from meshca.errors import MeshcaError, Misconfigured, Unavailable, shown

PATIENCE = 4.0
"""Seconds after the last answer at which the server is held to be lost."""
_PAUSE = 0.1
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""What clients try again: a connection that was renewed, a worker that is being restarted, a full house."""


class SerialLog:
    """One serial a line, on the disk before the next certificate is asked for."""

    def __init__(self, path: Path | None) -> None:
        """None keeps no log. Raises Misconfigured when the file cannot be appended to."""
        self._descriptor = -1
        if path is not None:
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise Misconfigured(f"the log {path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def note(self, serial: str) -> None:
        if self._descriptor >= 0:
            os.write(self._descriptor, f"{serial}\n".encode())
            os.fsync(self._descriptor)


def deliver(
    client: Client, *, token: Callable[[], str], count: int, log: SerialLog, received: Callable[[Delivery], None]
) -> None:
    """Get ``count`` certificates, one after another; each is logged, handed to ``received`` and verified as it comes.

    Raises Unavailable when the server gave no answer for PATIENCE, MeshcaError when it refuses,
    NotAcceptable when what it gives is not acceptable.
    """
    for _ in range(count):
        delivery = _ask(client, token())
        log.note(delivery.serial)
        client.verify(delivery)
        received(delivery)


def _ask(client: Client, token: str) -> Delivery:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return client.ask(token, max(until - time.monotonic(), _PAUSE))
        except grpc.RpcError as error:
            if error.code() not in _PASSING or _is_distrust(error):
                raise _told(error) from None
            if time.monotonic() + _PAUSE >= until:
                raise Unavailable(f"no certificate within {PATIENCE:.0f} s: {_told(error)}") from None
        time.sleep(_PAUSE)


def _is_distrust(error: grpc.RpcError) -> bool:
    """Whether the server's certificate was not accepted, which gRPC calls UNAVAILABLE, too."""
    details = error.details() or ""
    return "Verification Check failed" in details or "CERTIFICATE_VERIFY_FAILED" in details


def _told(error: grpc.RpcError) -> MeshcaError:
    code, details = error.code(), error.details() or "without a reason"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"the server gave no answer within {PATIENCE:.0f} s: look at its log")
    if _is_distrust(error):
        return NotAcceptable(
            "the server's certificate is not what this client trusts: look at --server-name and --roots "
            f"({shown(details.rpartition('error: ')[2])})"
        )
    return MeshcaError(f"the server says {code.name}: {details}")


def write_files(out: Path, delivery: Delivery, key: PrivateKey) -> None:
    """leaf.pem, chain.pem (the intermediates), roots.pem and key.pem (mode 0600). Raises Misconfigured."""
    at = folder(out)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(at / "key.pem", private, mode=0o600)
    for name, certificates in (
        ("leaf.pem", (delivery.leaf,)),
        ("chain.pem", delivery.chain),
        ("roots.pem", delivery.roots),
    ):
        write(at / name, b"".join(each.public_bytes(Encoding.PEM) for each in certificates), mode=0o644)
