"""The token issuer of a development world: what a cluster's API server is elsewhere."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from meshca.cli.dev.world import ISSUER, World
from meshca.cli.files import write
from meshca.clock import utc_now
from meshca.errors import Misconfigured
from meshca.identity import Pod
from meshca.names import ServiceAccount
from meshca.tokens.jws import encode, key_id, sign_rs256
from meshca.tokens.kubernetes_claims import claims_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_NODE = "dev-node"
_UIDS = uuid.UUID("a2f4a4a0-54f5-5e0e-9d6c-5d3c0e6f6c1b")
"""The name space (RFC 9562 §5.5) of the UIDs of everything that we invent: the same name has the same UID."""


def make_keys(world: World) -> None:
    """The issuer's key, and its public half as a cluster publishes it; what is there is kept."""
    if not world.token_key.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(world.token_key, pem, mode=0o600)
    document = json.dumps({"keys": [_jwk(_key(world).public_key())]}, indent=2)
    write(world.jwks, document.encode() + b"\n", mode=0o644)


def mint(world: World, account: ServiceAccount, *, audience: str, lifetime: timedelta) -> str:
    """A token of this account, bound to a pod that is invented for it.

    Raises Misconfigured when the folder is no world.
    """
    key = _key(world)
    claims = claims_for(
        account,
        issuer=ISSUER,
        account_uid=_uid("serviceaccounts", str(account)),
        audiences=[audience],
        issued=utc_now(),
        lifetime=lifetime,
        token_id=str(uuid.uuid4()),
        pod=_pod(account),
        node_uid=_uid("nodes", _NODE),
    )
    return sign_rs256(claims, key, key_id(key.public_key()))


def _pod(account: ServiceAccount) -> Pod:
    name = f"{account.name[:240]}-dev-0"
    return Pod(name=name, uid=_uid("pods", f"{account.namespace}/{name}"), node=_NODE)


def _uid(kind: str, name: str) -> str:
    return str(uuid.uuid5(_UIDS, f"{kind}/{name}"))


def _key(world: World) -> RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(world.token_key.read_bytes(), password=None)
    except (OSError, ValueError):
        raise Misconfigured(
            f"{world.folder} holds no development world ({world.token_key.name} cannot be read): "
            f"make one with `meshca dev up --dir {world.folder}`"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Misconfigured(f"{world.token_key} is not an RSA key: remove it, and `meshca dev up` makes another")
    return key


def _jwk(key: RSAPublicKey) -> dict[str, str]:
    """As an API server's /openid/v1/jwks has it (RFC 7517 §4, RFC 7518 §6.3.1)."""
    numbers = key.public_numbers()
    return {
        "use": "sig",
        "kty": "RSA",
        "kid": key_id(key),
        "alg": "RS256",
        "n": encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)),
        "e": encode(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)),
    }
