"""``istio.v1.auth.IstioCertificateService``: what pilot-agent and ztunnel call (``istio.md`` §0–1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from meshca import pem
from meshca._pb.istio import ca_pb2, ca_pb2_grpc
from meshca.errors import BadRequest, NotProven, shown
from meshca.issuance.pipeline import Wish
from meshca.server.door import Call, Context, Door

_BEARER = "Bearer "
_LONGEST = timedelta(days=36500)
"""What a larger number of seconds is taken for, so that it can be clamped rather than overflow (case 45)."""


class IstioCertificateService(ca_pb2_grpc.IstioCertificateServiceServicer):
    """PEM in and out: leaf, each intermediate in a string of its own, all roots together in the last one."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def CreateCertificate(
        self, request: ca_pb2.IstioCertificateRequest, context: Context
    ) -> ca_pb2.IstioCertificateResponse:
        metadata = tuple(context.invocation_metadata() or ())
        return await self._door.answer(context, lambda call: self._create(call, request, metadata))

    async def _create(
        self, call: Call, request: ca_pb2.IstioCertificateRequest, metadata: Sequence[tuple[str, str | bytes]]
    ) -> ca_pb2.IstioCertificateResponse:
        proven = await self._door.prove(call, _bearer(metadata), _named(metadata))
        _refuse_delegation(request)
        issued = await self._door.issue(
            call,
            proven,
            request.csr.encode(),
            Wish(lifetime=_lifetime(request.validity_duration), peer=call.peer, request_id=call.request_id),
        )
        leaf = pem.encode(issued.entry.der, label="CERTIFICATE")
        authority = issued.authority
        return ca_pb2.IstioCertificateResponse(cert_chain=[leaf, *authority.chain_pem, authority.roots_pem])


def _bearer(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """The one bearer token of the call. Raises NotProven."""
    headers = [value for key, value in metadata if key == "authorization"]
    if len(headers) != 1:
        raise NotProven(f"{len(headers)} authorization headers, where one is needed", check="shape")
    header = headers[0]
    if not isinstance(header, str) or not header.startswith(_BEARER):
        raise NotProven("the authorization header is no bearer token", check="shape")
    return header.removeprefix(_BEARER).strip()


def _named(metadata: Sequence[tuple[str, str | bytes]]) -> list[str]:
    """The clusters that the caller says it is in (``istio.md`` §1.1)."""
    return [value for key, value in metadata if key == "clusterid" and isinstance(value, str)]


def _refuse_delegation(request: ca_pb2.IstioCertificateRequest) -> None:
    fields = request.metadata.fields
    if fields["ImpersonatedIdentity"].string_value if "ImpersonatedIdentity" in fields else "":
        raise NotProven(
            "the call asks for another's identity (ImpersonatedIdentity): node proxies are not served yet",
            check="impersonation",
        )
    signer = fields["CertSigner"].string_value if "CertSigner" in fields else ""
    if signer:
        raise BadRequest(
            f"CertSigner {shown(signer)} asks for another signer; this CA signs with its own issuer alone: "
            "leave CertSigner empty",
            check="signer",
        )


def _lifetime(seconds: int) -> timedelta | None:
    """Zero and less ask for the default (``istio.md`` §1.1)."""
    if seconds <= 0:
        return None
    return timedelta(seconds=min(seconds, int(_LONGEST.total_seconds())))
