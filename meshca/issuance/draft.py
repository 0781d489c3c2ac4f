"""The TBSCertificate, declared and encoded (RFC 5280 §4.1).

``CertificateBuilder`` wants a private key object; ours may be in Vault or in an HSM. So the
structure is declared here with ``hazmat.asn1`` and encoded without any key, five times cheaper.
That module is flagged unstable: cryptography is pinned, and a property test demands that what
comes out is byte for byte what ``CertificateBuilder`` writes (ADR 3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from meshca.errors import SignerFault
from meshca.issuance.ledger import MAX_SERIAL_BITS
from meshca.keys.algorithms import Algorithm, PublicKey, algorithm_of
from meshca.keys.signer import Signer

_V3 = 2
_FIRST_GENERALIZED_YEAR = 2050


@asn1.sequence
class _Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _TbsCertificate:
    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    spki: asn1.TLV
    extensions: Annotated[list[_Extension], asn1.Explicit(3)]


@asn1.sequence
class _Signed:
    """Certificate, CertificateList and CertificationRequest alike: what is signed, how, and the signature."""

    signed: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


Extension = _Extension
"""An encoded extension; made once where it is constant."""


def extension(value: x509.ExtensionType, *, critical: bool) -> Extension:
    """An extension, encoded."""
    return _Extension(oid=value.oid, critical=critical, value=value.public_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A certificate that wants only its signature. Times are whole seconds in UTC."""

    serial: int
    issuer_name: bytes
    """DER Name, byte-equal to the parent's subject."""
    not_before: datetime
    not_after: datetime
    subject: bytes
    """DER Name."""
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    extensions: Sequence[Extension]

    def tbs(self, algorithm: Algorithm) -> bytes:
        """The DER TBSCertificate, to be signed with this algorithm."""
        return asn1.encode_der(
            _TbsCertificate(
                version=_V3,
                serial=self.serial,
                algorithm=_tlv(algorithm.identifier),
                issuer=_tlv(self.issuer_name),
                validity=_Validity(not_before=_time(self.not_before), not_after=_time(self.not_after)),
                subject=_tlv(self.subject),
                spki=_tlv(self.spki),
                extensions=list(self.extensions),
            )
        )


def random_serial() -> int:
    """127 random bits, never zero: no two issuers or replicas need to agree on a counter (case 48)."""
    while True:
        serial = int.from_bytes(os.urandom(16)) >> (128 - MAX_SERIAL_BITS)
        if serial:
            return serial


def sign(draft: Draft, signer: Signer) -> bytes:
    """Sign exactly the bytes that were drafted, and verify before anyone sees the result.

    Local, Vault and HSM keys differ in nothing here. A faulty signature must never leave, since
    it can betray the key (``ca-practice.md`` §6 case 60). Returns the DER Certificate.

    Raises SignerFault when the signature does not verify, Unavailable when the key is away.
    """
    algorithm = algorithm_of(signer.public_key)
    tbs = draft.tbs(algorithm)
    return seal(tbs, signer.sign(tbs), key=signer.public_key, algorithm=algorithm)


def seal(tbs: bytes, signature: bytes, *, key: PublicKey, algorithm: Algorithm) -> bytes:
    """``SEQUENCE {tbs, algorithm, BIT STRING}``, once the signature was seen to verify. Raises SignerFault."""
    if not algorithm.verifies(key, signature, tbs):
        raise SignerFault("the issuer's key made a signature that does not verify; nothing was released")
    return asn1.encode_der(
        _Signed(
            signed=_tlv(tbs),
            algorithm=_tlv(algorithm.identifier),
            signature=asn1.BitString(signature, 0),
        )
    )


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _time(moment: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    """UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5)."""
    moment = moment.astimezone(UTC)
    return asn1.UTCTime(moment) if moment.year < _FIRST_GENERALIZED_YEAR else asn1.GeneralizedTime(moment)
