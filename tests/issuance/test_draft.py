"""Our own encoding of a TBSCertificate against ``CertificateBuilder``'s."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from meshca.errors import SignerFault
from meshca.issuance.draft import Draft, extension, random_serial, sign
from meshca.keys.algorithms import algorithm_of, generate, spki_of
from meshca.keys.local import LocalSigner

SIGNERS = [LocalSigner(generate(key_type)) for key_type in ("ecdsa-p256", "ecdsa-p384", "rsa-2048")]
KEYS = [
    ec.generate_private_key(ec.SECP256R1()).public_key(),
    ec.generate_private_key(ec.SECP384R1()).public_key(),
    rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(),
]

names = st.builds(
    lambda organization, common: x509.Name(
        [
            *([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []),
            *([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []),
        ]
    ),
    st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=60),
    st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=60),
)
moments = st.datetimes(datetime(1950, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
extensions = st.lists(
    st.sampled_from(
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                False,
            ),
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://td/ns/a/sa/b")]), True),
            (x509.SubjectAlternativeName([x509.DNSName("a.b.c"), x509.DNSName("d")]), False),
            (x509.SubjectKeyIdentifier(b"0123456789"), False),
            (x509.AuthorityKeyIdentifier(b"\x80" * 20, None, None), False),
        ]
    ),
    min_size=1,
    unique_by=lambda pair: pair[0].oid,
)


@settings(deadline=None)
@given(
    signer=st.sampled_from(SIGNERS),
    key=st.sampled_from(KEYS),
    issuer=names,
    subject=names,
    serial=st.integers(1, 2**127 - 1),
    begin=moments,
    life=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
    content=extensions,
)
def test_a_draft_is_byte_for_byte_what_the_builder_writes(
    signer: LocalSigner,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: x509.Name,
    subject: x509.Name,
    serial: int,
    begin: datetime,
    life: timedelta,
    content: list[tuple[x509.ExtensionType, bool]],
) -> None:
    end = begin + timedelta(seconds=int(life.total_seconds()))
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=serial,
        not_valid_before=begin,
        not_valid_after=end,
    )
    for value, critical in content:
        builder = builder.add_extension(value, critical)
    expected = builder.sign(signer._private_key, algorithm_of(signer.public_key).hash)

    draft = Draft(
        serial=serial,
        issuer_name=issuer.public_bytes(),
        not_before=begin,
        not_after=end,
        subject=subject.public_bytes(),
        spki=spki_of(key),
        extensions=[extension(value, critical=critical) for value, critical in content],
    )

    assert draft.tbs(algorithm_of(signer.public_key)) == expected.tbs_certificate_bytes
    made = x509.load_der_x509_certificate(sign(draft, signer))
    assert made.tbs_certificate_bytes == expected.tbs_certificate_bytes
    assert made.signature_algorithm_oid == expected.signature_algorithm_oid
    assert made.signature_algorithm_parameters.__class__ is expected.signature_algorithm_parameters.__class__


def test_a_serial_is_random_positive_and_at_most_sixteen_octets() -> None:
    serials = {random_serial() for _ in range(2000)}
    assert len(serials) == 2000
    assert all(0 < serial < 2**127 for serial in serials)
    assert max(serials).bit_length() > 120


class _Faulty(LocalSigner):
    """A key that answers with a signature over something else."""

    def sign(self, tbs: bytes) -> bytes:
        return super().sign(tbs + b"\0")


def test_a_signature_that_does_not_verify_is_never_put_under_a_certificate() -> None:
    key = generate("ecdsa-p256")
    name = x509.Name([]).public_bytes()
    now = datetime(2026, 11, 23, tzinfo=UTC)
    draft = Draft(
        serial=1,
        issuer_name=name,
        not_before=now,
        not_after=now + timedelta(hours=1),
        subject=name,
        spki=spki_of(key.public_key()),
        extensions=[extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)],
    )
    with pytest.raises(SignerFault, match="does not verify"):
        sign(draft, _Faulty(key))
