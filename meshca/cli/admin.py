"""The connection to a running meshca: its admin API on a Unix socket."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshca.errors import MeshcaError, Misconfigured, Unavailable, shown

if TYPE_CHECKING:
    import grpc

    from meshca._pb.meshca.admin_pb2_grpc import AdminStub

DEADLINE = 15.0
"""Seconds that one answer may take; lists, which are streams, take as long as they are long."""

_NOT_THERE = ("failed to connect", "connections to all backends failing", "Socket closed", "No such file")


@contextlib.contextmanager
def admin(server: str) -> Iterator[AdminStub]:
    """A client of the admin API. Raises Misconfigured for an address that is none, and turns what
    gRPC raises inside the block into a sentence: Unavailable, or MeshcaError with the server's own words."""
    if not server.startswith("unix:/"):
        raise Misconfigured(
            f"the server {shown(server)} is not unix:/path: set --server or MESHCA_SERVER to its admin socket"
        )
    quiet()
    import grpc

    from meshca._pb.meshca.admin_pb2_grpc import AdminStub

    # A socket has no host; without this, grpc would send its percent-encoded path as :authority.
    with grpc.insecure_channel(server, options=[("grpc.default_authority", "localhost")]) as channel:
        try:
            yield AdminStub(channel)
        except grpc.RpcError as error:
            raise sentence(error, server) from None


def quiet() -> None:
    """Keep gRPC's core from writing to standard error. Must come before it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def sentence(error: grpc.RpcError, server: str) -> MeshcaError:
    """What a failed call means to the person who made it."""
    import grpc

    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and any(words in details for words in _NOT_THERE):
        if "Permission denied" in details:
            return Unavailable(f"the socket {server} may not be opened: run this as the user that meshca runs as")
        return Unavailable(f"no meshca serves at {server}: start it, or set MESHCA_SERVER (or --server) to where it is")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"{server} gave no answer within {DEADLINE:.0f} s: look at its log")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return MeshcaError(f"{server} does not know this call: is it another version of meshca, or another service?")
    return MeshcaError(details or f"the server answered {code.name}")
