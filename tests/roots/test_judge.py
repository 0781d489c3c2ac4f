"""What comes back from a root is read before it is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from meshca.errors import Misconfigured
from meshca.keys.algorithms import generate, key_identifier
from meshca.keys.local import LocalSigner
from meshca.names import TrustDomain
from meshca.roots.bundle import bundle_document
from meshca.roots.certificates import draft_root, issuer_csr
from meshca.roots.files import RootFiles, create_root, open_root
from meshca.roots.held import HeldRoot
from meshca.roots.judge import fingerprint, judge
from meshca.roots.source import IssuerRequest
from tests.openssl import openssl_verify

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TD = TrustDomain("cluster.local")


def make_root(tmp_path: Path, *, key_type: str = "ecdsa-p256", life: timedelta = timedelta(days=3650)) -> HeldRoot:
    folder = tmp_path / f"root-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    files = RootFiles(folder / "root.pem", folder / "root-key.pem")
    create_root(files, TD, key_type=key_type, lifetime=life, now=NOW)
    return open_root(files)


def request_for(signer: LocalSigner, *, life: timedelta = timedelta(days=30)) -> IssuerRequest:
    return IssuerRequest(
        issuer_id="0123456789abcdef",
        trust_domain=TD,
        public_key=signer.public_key,
        csr=issuer_csr(TD, "0123456789abcdef", signer),
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + life,
    )


@pytest.mark.parametrize("root_type", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
@pytest.mark.parametrize("issuer_type", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_our_own_roots_issuer_is_accepted_and_openssl_agrees(tmp_path: Path, root_type: str, issuer_type: str) -> None:
    root = make_root(tmp_path, key_type=root_type)
    signer = LocalSigner(generate(issuer_type))
    chain = root.certify(request_for(signer))
    judge(chain, signer=signer, trust_domain=TD, roots=root.roots(), now=NOW)
    openssl_verify(chain[0], untrusted=(), roots=root.roots(), at=NOW, purpose=None)


def test_an_issuer_is_clamped_to_its_root(tmp_path: Path) -> None:
    root = make_root(tmp_path, life=timedelta(days=3))
    signer = LocalSigner(generate("ecdsa-p256"))
    (issuer,) = root.certify(request_for(signer))
    assert issuer.not_valid_after_utc == root.roots()[0].not_valid_after_utc


def test_the_csr_asks_for_the_key_and_proves_its_possession() -> None:
    signer = LocalSigner(generate("rsa-2048"))
    csr = x509.load_der_x509_csr(issuer_csr(TD, "feed", signer))
    assert csr.is_signature_valid
    assert csr.public_key() == signer.public_key
    assert csr.subject.rfc4514_string() == "CN=meshca issuer feed,O=cluster.local"


def test_an_authority_between_the_issuer_and_the_anchor_is_part_of_the_chain(tmp_path: Path) -> None:
    company = company_chain()
    root = HeldRoot(company.chain, company.signer)
    signer = LocalSigner(generate("ecdsa-p256"))
    chain = root.certify(request_for(signer))
    assert len(chain) == 2
    judge(chain, signer=signer, trust_domain=TD, roots=root.roots(), now=NOW)


# --- wrong answers ---------------------------------------------------------------------------


class Company:
    """An RSA root with an authority below it, as a company's PKI would have."""

    def __init__(self, chain: tuple[x509.Certificate, ...], signer: LocalSigner) -> None:
        self.chain = chain
        self.signer = signer


def company_chain(*, path_length: int | None = 1) -> Company:
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    middle_key = ec.generate_private_key(ec.SECP384R1())
    root = authority("Company Root", root_key.public_key(), "Company Root", root_key, path_length=None)
    middle = authority("Company Mesh", middle_key.public_key(), "Company Root", root_key, path_length=path_length)
    return Company((middle, root), LocalSigner(middle_key))


def authority(
    subject: str,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    path_length: int | None,
    ca: bool = True,
    sign_certificates: bool = True,
    uri: str | None = "spiffe://cluster.local",
    identifier: bool = True,
    begin: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=20),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not sign_certificates,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=sign_certificates,
                crl_sign=sign_certificates,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(issuer_key.public_key()), None, None), critical=False)
    )
    if identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_identifier(key)), critical=False)
    if uri:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


ROOT_KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = authority("Root", ROOT_KEY.public_key(), "Root", ROOT_KEY, path_length=None)
ISSUER = LocalSigner(generate("ecdsa-p256"))
OTHER = generate("ecdsa-p256")


def answer(**changes: object) -> tuple[x509.Certificate, ...]:
    wanted: dict[str, object] = {"path_length": 0, **changes}
    key = wanted.pop("key", ISSUER.public_key)
    by = wanted.pop("by", ROOT_KEY)
    return (authority("Issuer", key, "Root", by, **wanted),)  # type: ignore[arg-type] # rows of a table


WRONG: dict[str, tuple[Callable[[], tuple[x509.Certificate, ...]], str]] = {
    "another key": (lambda: answer(key=OTHER.public_key()), "another public key"),
    "not a CA": (lambda: answer(ca=False), "is not a CA"),
    "no path length": (lambda: answer(path_length=None), "path length is None"),
    "path length 1": (lambda: answer(path_length=1), "path length is 1"),
    "may not sign": (lambda: answer(sign_certificates=False), "lacks keyCertSign"),
    "no identifier": (lambda: answer(identifier=False), "no subject key identifier"),
    "no SPIFFE ID": (lambda: answer(uri=None), r"URI names are \[\]"),
    "another trust domain": (lambda: answer(uri="spiffe://cluster.local.evil"), "cluster.local.evil"),
    "an ID with a path": (lambda: answer(uri="spiffe://cluster.local/ns/a/sa/b"), "/ns/a/sa/b"),
    "a life beyond its parent's": (
        lambda: answer(end=NOW + timedelta(days=400)),
        "outside the life of",
    ),
    "expired": (lambda: answer(end=NOW - timedelta(minutes=1)), "not now"),
    "not begun": (lambda: answer(begin=NOW + timedelta(minutes=1)), "not now"),
    "another root's": (lambda: answer(by=OTHER), "none of the configured roots"),
    "nothing": (tuple, "it is empty"),
    "in the wrong order": (lambda: (ROOT, *answer()), "another public key"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_refused_with_its_reason(name: str) -> None:
    make, reason = WRONG[name]
    with pytest.raises(Misconfigured, match=reason):
        judge(make(), signer=ISSUER, trust_domain=TD, roots=(ROOT,), now=NOW)


def test_the_right_answer_is_accepted_so_that_the_wrong_ones_mean_something() -> None:
    judge(answer(), signer=ISSUER, trust_domain=TD, roots=(ROOT,), now=NOW)


def test_a_parent_whose_path_length_forbids_an_issuer_fails_the_throwaway_leaf() -> None:
    company = company_chain(path_length=0)
    root = HeldRoot(company.chain, company.signer)
    signer = LocalSigner(generate("ecdsa-p256"))
    with pytest.raises(Misconfigured, match="throwaway leaf"):
        judge(root.certify(request_for(signer)), signer=signer, trust_domain=TD, roots=root.roots(), now=NOW)


def test_a_key_that_is_not_its_certificates_is_refused() -> None:
    with pytest.raises(Misconfigured, match="not the key of its certificate"):
        HeldRoot((ROOT,), LocalSigner(OTHER))


# --- files -----------------------------------------------------------------------------------


def test_a_root_is_never_overwritten(tmp_path: Path) -> None:
    files = RootFiles(tmp_path / "root.pem", tmp_path / "root-key.pem")
    create_root(files, TD, key_type="ecdsa-p256", lifetime=timedelta(days=1), now=NOW)
    before = files.key.read_bytes()
    with pytest.raises(Misconfigured, match="never overwritten"):
        create_root(files, TD, key_type="ecdsa-p256", lifetime=timedelta(days=1), now=NOW)
    assert files.key.read_bytes() == before
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_a_root_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    files = RootFiles(tmp_path / "root.pem", tmp_path / "root-key.pem")
    create_root(files, TD, key_type="ecdsa-p256", lifetime=timedelta(days=1), now=NOW)
    files.key.chmod(0o644)
    with pytest.raises(Misconfigured, match="make it 0600"):
        open_root(files)


def test_an_encrypted_root_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    files = RootFiles(tmp_path / "root.pem", tmp_path / "root-key.pem", passphrase)
    create_root(files, TD, key_type="ecdsa-p256", lifetime=timedelta(days=1), now=NOW)
    assert b"ENCRYPTED" in files.key.read_bytes()
    assert open_root(files).roots()[0].subject.rfc4514_string().startswith("CN=meshca root ")
    with pytest.raises(Misconfigured, match="give its passphrase"):
        open_root(replace(files, passphrase=None))
    passphrase.write_text("wrong")
    with pytest.raises(Misconfigured, match="passphrase is wrong") as caught:
        open_root(files)
    assert "wrong horse" not in str(caught.value)


def test_a_root_is_a_self_signed_svid_of_its_trust_domain() -> None:
    signer = LocalSigner(generate("ecdsa-p256"))
    draft = draft_root(TD, signer.public_key, lifetime=timedelta(days=1), now=NOW)
    assert draft.issuer_name == draft.subject
    assert fingerprint(ROOT).startswith("sha256:")


def test_a_company_authority_that_outlives_its_root_is_no_hindrance_and_our_issuer_does_not(tmp_path: Path) -> None:
    root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = authority("Root", root_key.public_key(), "Root", root_key, path_length=None)
    middle = authority("Middle", middle_key.public_key(), "Root", root_key, path_length=1, end=NOW + timedelta(days=25))
    held = HeldRoot((middle, root), LocalSigner(middle_key))
    signer = LocalSigner(generate("ecdsa-p256"))
    chain = held.certify(request_for(signer))
    judge(chain, signer=signer, trust_domain=TD, roots=held.roots(), now=NOW)
    assert chain[0].not_valid_after_utc == root.not_valid_after_utc


def test_an_ed25519_anchor_stands_in_the_bundle() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old Root")])
    anchor = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    (jwk,) = bundle_document([anchor], sequence=1)["keys"]
    assert (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519")
