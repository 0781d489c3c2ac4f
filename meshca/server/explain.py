"""Why a token or a CSR is accepted or refused, check by check.

The packages that judge list their checks in order, and a refusal names the one that said no. So
nothing is judged twice, and nothing on the way of a real request is slowed down by explaining.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshca import csr
from meshca._pb.meshca import admin_pb2
from meshca.clock import utc_now
from meshca.config import Config
from meshca.errors import BadRequest, MeshcaError, NotProven, Refused, Unavailable
from meshca.identity import Identity
from meshca.issuance.profile import Profile, istio_profile, linkerd_profile
from meshca.names import ServiceAccount, TrustDomain
from meshca.rotation.authority_set import AuthoritySet
from meshca.server import build
from meshca.tokens.clusters import CHECKS

_PEM = b"-----BEGIN"


class Explainer:
    """Judges for an operator with the very rules that the workers judge with, and releases nothing."""

    def __init__(self, config: Config, present: Callable[[], AuthoritySet]) -> None:
        self._config = config
        self._present = present
        self._callers: build.Callers | None = None  # made when first asked: it costs memory and connections

    async def close(self) -> None:
        if self._callers is not None:
            await self._callers.close()

    async def token(self, token: str, *, service: str, cluster: str | None) -> admin_pb2.Explanation:
        """Every check of a token shown at this service. Raises BadRequest for a service that there is not."""
        self._profile(service)
        if self._callers is None:
            self._callers = build.Callers(self._config)
        clusters, named = self._callers.clusters, (cluster,) if cluster else ()
        unbound = any(each.unbound == "allow" for each in self._config.listeners if service in each.services)
        try:
            checks = clusters.named(named).checks
        except NotProven as error:
            return _explanation(CHECKS, error)
        try:
            proven = await clusters.prove(
                token,
                audiences=build.audiences(self._config, service),
                now=utc_now(),
                named=named,
                unbound=unbound,
            )
        except (Refused, Unavailable) as error:
            return _explanation(checks, error)
        try:
            build.policy(self._config).allow(proven.identity)
        except Refused as error:
            return _explanation((*checks, "policy"), error, str(proven.identity))
        return _explanation((*checks, "policy"), None, str(proven.identity))

    async def csr(self, request: bytes, *, service: str, account: str) -> admin_pb2.Explanation:
        """Every check of a CSR sent by this account. Raises BadRequest and BadName for what there is not."""
        profile = self._profile(service)
        service_account = ServiceAccount.parse(account)
        identity = Identity(
            service_account.spiffe_id(TrustDomain(self._config.trust_domain)),
            cluster="",
            service_account=service_account,
        )
        own = build.OwnKeys()
        own.replace(self._present())
        rules = build.csr_rules(self._config, own)
        try:
            expected, _ = profile.expect(identity)
            csr.judge(_in_form(request, profile.form), profile.form, expected=expected, rules=rules)
        except Refused as error:
            return _explanation(("identity", *csr.CHECKS), error)
        return _explanation(("identity", *csr.CHECKS), None, str(identity))

    def _profile(self, service: str) -> Profile:
        match service:
            case "istio":
                return istio_profile()
            case "linkerd":
                return linkerd_profile(self._config.linkerd.control_namespace)
        raise BadRequest(f"there is no service '{service}'; choose linkerd or istio", check="fields")


def _in_form(request: bytes, form: csr.Form) -> bytes:
    """The CSR in the form of the service's wire, whichever the operator's file has."""
    try:
        if form is csr.Form.DER and request.startswith(_PEM):
            return x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
        if form is csr.Form.PEM and not request.startswith(_PEM):
            return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM)
    except (ValueError, x509.InvalidVersion):
        return request  # the judge says what is wrong with it
    return request


def _explanation(checks: Sequence[str], error: MeshcaError | None, identity: str = "") -> admin_pb2.Explanation:
    """Before the check that said no, all passed; after it, none was reached."""
    if isinstance(error, Unavailable):
        # Nobody can say how far it came: what is missing may be needed by any of them.
        checks, said_no = ("dependencies", *checks), "dependencies"
    else:
        said_no = error.check if isinstance(error, Refused) else ""
    answer = admin_pb2.Explanation(accepted=error is None, identity=identity)
    reached = True
    for name in checks:
        stops = error is not None and name == said_no
        if not reached:
            answer.checks.add(name=name, result="not-reached")
        elif stops:
            reached = False
            result = "refused" if isinstance(error, Refused) else "unavailable"
            answer.checks.add(name=name, result=result, detail=str(error))
        else:
            answer.checks.add(name=name, result="passed")
    return answer
