"""A request is judged: the order of its checks, from the cheapest to the dearest and most telling.

1. ``size`` – at most 16 KiB, before anything is parsed.
2. ``form`` – one canonical PEM block, or DER, as the door's clients send it.
3. ``syntax`` – DER of a CertificationRequest and nothing after it.
4. ``version`` – v1.
5. ``key-type`` – RSA or an elliptic curve.
6. ``curve`` – P-256 or P-384, by name.
7. ``key-encoding`` – the key's one encoding; its point is on the curve.
8. ``key-size`` – RSA with 2048, 3072 or 4096 bits.
9. ``exponent`` – 65537.
10. ``signature-algorithm`` – the one that fits the key.
11. ``weak-key`` – no RSA key that is known to be factorable.
12. ``blocked-key`` – no compromised key, none of our own.
13. ``possession`` – signed by its own key.
14. ``attributes`` – one list of extensions at most, nothing beside it.
15. ``subject`` – what the door's clients write.
16. ``extensions`` – nothing that a leaf could not hold.
17. ``names`` – exactly the proven identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final

from cryptography.x509.oid import ExtensionOID

from meshca.csr.blocked import BlockedKeys
from meshca.csr.extensions import extension_request_of, extensions_in, refuse_unwanted
from meshca.csr.parse import Form, parse
from meshca.csr.public_key import (
    PublicKey,
    key_type_of,
    load_key,
    refuse_foreign_signature,
    refuse_unproven,
    refuse_weak,
)
from meshca.csr.subject_names import Expected, refuse_other_names, refuse_other_subject
from meshca.errors import BadRequest

CHECKS: Final[tuple[str, ...]] = (
    "size",
    "form",
    "syntax",
    "version",
    "key-type",
    "curve",
    "key-encoding",
    "key-size",
    "exponent",
    "signature-algorithm",
    "weak-key",
    "blocked-key",
    "possession",
    "attributes",
    "subject",
    "extensions",
    "names",
)
"""Every check, in the order in which they are made: a refusal by one says that all before it passed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the judge must know beyond the request: which keys nobody may use."""

    blocked: BlockedKeys = field(default_factory=BlockedKeys)
    own_keys: Callable[[], Container[bytes]] = frozenset
    """SHA-256 of the DER SubjectPublicKeyInfo of each of our issuers and roots; asked for each
    request, since rotation adds to them."""

    def refuse_blocked(self, spki_sha256: bytes) -> None:
        """Raises BadRequest with check ``blocked-key``."""
        if spki_sha256 in self.own_keys():
            raise BadRequest("the CSR's key is one of this CA's own", check="blocked-key")
        if spki_sha256 in self.blocked:
            raise BadRequest(
                "the CSR's key is on the list of blocked keys (csr.blocked_keys): make a new key",
                check="blocked-key",
            )


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What is left of a request once it is judged: its public key."""

    public_key: PublicKey
    spki: bytes
    """The DER SubjectPublicKeyInfo."""
    spki_sha256: bytes


def judge(request: bytes, form: Form, *, expected: Expected, rules: Rules) -> SigningRequest:
    """The public key of a request that is sound, proven and asks for the expected name alone.

    Raises BadRequest, and nothing else, whatever the bytes are; its ``check`` is one of CHECKS.
    """
    csr = parse(request, form)
    key_type = key_type_of(csr)
    key = load_key(csr, key_type)
    refuse_foreign_signature(csr, key_type)
    refuse_weak(key)
    spki_sha256 = hashlib.sha256(csr.spki).digest()
    rules.refuse_blocked(spki_sha256)
    refuse_unproven(csr, key, key_type)
    attribute = extension_request_of(csr)
    refuse_other_subject(csr.subject, expected)
    extensions = extensions_in(attribute)
    refuse_unwanted(extensions)
    refuse_other_names(extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME), expected)
    return SigningRequest(key, csr.spki, spki_sha256)
