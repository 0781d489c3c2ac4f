"""``io.linkerd.proxy.identity.Identity``: what linkerd2-proxy calls (``linkerd.md`` §1–2.1)."""

from __future__ import annotations

from meshca._pb.linkerd import identity_pb2, identity_pb2_grpc
from meshca.errors import BadRequest, NotProven, shown
from meshca.issuance.pipeline import Wish
from meshca.server.door import Call, Context, Door
from meshca.tokens.validator import MAX_TOKEN


class LinkerdIdentity(identity_pb2_grpc.IdentityServicer):
    """DER in and out; ``valid_until`` is always there, since proxies refuse an answer without it."""

    def __init__(self, door: Door, control_namespace: str) -> None:
        self._door = door
        self._control_namespace = control_namespace

    async def Certify(self, request: identity_pb2.CertifyRequest, context: Context) -> identity_pb2.CertifyResponse:
        return await self._door.answer(context, lambda call: self._certify(call, request))

    async def _certify(self, call: Call, request: identity_pb2.CertifyRequest) -> identity_pb2.CertifyResponse:
        if not request.identity:
            raise BadRequest("missing identity", check="fields")
        if not request.token:
            raise BadRequest("missing token", check="fields")
        if not request.certificate_signing_request:
            raise BadRequest("missing certificate signing request", check="fields")
        proven = await self._door.prove(call, _text(request.token))
        self._same(request.identity, proven.identity.linkerd_name(self._control_namespace))
        issued = await self._door.issue(
            call,
            proven,
            request.certificate_signing_request,
            Wish(peer=call.peer, request_id=call.request_id),
        )
        answer = identity_pb2.CertifyResponse(
            leaf_certificate=issued.entry.der, intermediate_certificates=issued.authority.chain_der
        )
        answer.valid_until.FromDatetime(issued.entry.not_after)
        return answer

    @staticmethod
    def _same(requested: str, proven: object) -> None:
        if requested != str(proven):
            raise BadRequest(
                f"requested identity did not match provided token: requested={shown(requested)}; found={proven}",
                check="identity",
            )


def _text(token: bytes) -> str:
    """The token file's content as the proxy sent it; a trailing newline is the file's, not the token's."""
    if len(token) > MAX_TOKEN:
        raise NotProven(f"a token of {len(token)} bytes is over {MAX_TOKEN}", check="size")
    try:
        return token.decode("ascii").strip()
    except UnicodeDecodeError:
        raise NotProven("the token holds bytes that no token has", check="shape") from None
