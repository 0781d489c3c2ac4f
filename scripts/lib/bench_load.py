"""The load of the bench, a process of its own: callers that show tokens and CSRs to Istio's service over TLS.

Reads a JSON job on standard input, prints a JSON result: how many were issued, how long each took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import uvloop

from meshca._pb.istio import ca_pb2, ca_pb2_grpc


async def caller(
    job: dict[str, Any], tokens: Iterator[str], shared: grpc.aio.Channel | None, took: list[float]
) -> None:
    """Ask until the tokens are used up."""
    request = ca_pb2.IstioCertificateRequest(csr=job["csr"], validity_duration=86400)
    for token in tokens:
        began = time.perf_counter()
        channel = shared or open_channel(job)
        answer = await ca_pb2_grpc.IstioCertificateServiceStub(channel).CreateCertificate(
            request, metadata=(("authorization", f"Bearer {token}"),), timeout=30
        )
        took.append(time.perf_counter() - began)
        assert len(answer.cert_chain) >= 2
        if shared is None:
            await channel.close()


def open_channel(job: dict[str, Any]) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(job["roots"].encode())
    options = [("grpc.ssl_target_name_override", job["name"]), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(job["address"], credentials, options=options)


async def main() -> None:
    job = json.load(sys.stdin)
    tokens, took = iter(job["tokens"]), list[float]()
    shared = None if job["new_connections"] else open_channel(job)
    if shared is not None:
        await shared.channel_ready()
    began = time.perf_counter()
    await asyncio.gather(*(caller(job, tokens, shared, took) for _ in range(job["callers"])))
    json.dump({"seconds": time.perf_counter() - began, "took": took}, sys.stdout)
    if shared is not None:
        await shared.close()


if __name__ == "__main__":
    uvloop.run(main())
