"""A cluster's token issuer for tests: Kubernetes' claims, signed by PyJWT and not by our own code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from meshca.identity import Pod
from meshca.names import ServiceAccount
from meshca.tokens.kubernetes_claims import claims_for

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = "istio-ca"
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
"""When tokens are issued, unless told otherwise."""
ACCOUNT = ServiceAccount("shop", "cart")
POD = Pod("cart-7d9f8c6b5-x2x4z", "0d7b3f0e-1c1e-4a52-9d2b-3f0d2a2d2e3c", "node-1")
TOKEN_ID = "5f1b3c9e-98b0-4f0e-8b4c-0a3c5b8f7e11"

Claims = dict[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


@cache
def private_key(algorithm: str, number: int) -> PrivateKey:
    """A key for this algorithm, made once for a run; another ``number`` is another key."""
    del number
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(
    *,
    account: ServiceAccount = ACCOUNT,
    pod: Pod | None = POD,
    audiences: tuple[str, ...] = (AUDIENCE,),
    issuer: str = ISSUER,
    issued: datetime = NOW,
    lifetime: timedelta = timedelta(hours=1),
) -> Claims:
    """What a TokenRequest would be answered with, before it is signed."""
    return claims_for(
        account,
        issuer=issuer,
        account_uid="a5a6a7a8-0000-4000-8000-000000000001",
        audiences=audiences,
        issued=issued,
        lifetime=lifetime,
        token_id=TOKEN_ID,
        pod=pod,
        node_uid="b5a6a7a8-0000-4000-8000-000000000002",
    )


@dataclass(frozen=True)
class Mint:
    """Signs with one key, under one name."""

    algorithm: str = "RS256"
    number: int = 0
    kid: str = "the-key"
    issuer: str = ISSUER
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> PrivateKey:
        return private_key(self.algorithm, self.number)

    @cached_property
    def jwk(self) -> dict[str, Any]:
        """The public key as an API server publishes it."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            entry = RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            entry = ECAlgorithm.to_jwk(public, as_dict=True)
        entry.pop("key_ops", None)
        return {**entry, "use": "sig", "kid": self.kid, "alg": self.algorithm}

    def sign(self, payload: Claims) -> str:
        return jwt.encode(payload, self.key, algorithm=self.algorithm, headers={"kid": self.kid, **self.headers})

    def sign_raw(self, payload: Claims) -> str:
        """The same for claims that PyJWT itself would not sign, such as a number as issuer."""
        header = {"kid": self.kid, **self.headers}
        return jwt.api_jws.encode(json.dumps(payload).encode(), self.key, algorithm=self.algorithm, headers=header)

    def token(self, **wanted: Any) -> str:
        """A token with :func:`claims`."""
        return self.sign(claims(**{"issuer": self.issuer, **wanted}))


def jwks(*mints: Mint) -> bytes:
    """The key set that publishes the keys of these mints."""
    return json.dumps({"keys": [mint.jwk for mint in mints]}).encode()
