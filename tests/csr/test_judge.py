"""What the meshes' own clients send is taken, and the checks are made in the order that is promised."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from meshca.csr import CHECKS, BlockedKeys, Expected, Form, Rules, SigningRequest, judge, judgement
from meshca.errors import BadRequest
from meshca.names import LinkerdName, ServiceAccount
from tests.attacks import SPIFFE_ID, TRUST_DOMAIN, der, keys
from tests.attacks.requests import (
    BASIC_CONSTRAINTS,
    COMMON_NAME,
    DOORS,
    EXTENDED_KEY_USAGE,
    ISTIO,
    KEY_USAGE,
    LINKERD,
    LINKERD_NAME,
    ORGANIZATION,
    Body,
    Door,
    attribute,
    dns,
    extension,
    extension_request,
    pem,
    san,
    subject,
    uri,
)

VECTORS = Path(__file__).parent / "vectors"
MAX_REQUEST = 16 * 1024
NO_RULES = Rules()


def judged(request: bytes, door: Door, rules: Rules = NO_RULES) -> SigningRequest:
    return judge(request, door.form, expected=door.expected, rules=rules)


def refusal(request: bytes, door: Door, rules: Rules = NO_RULES) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        judged(request, door, rules)
    return caught.value


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", ["rsa-2048", "p256", "p384"])
def test_what_pilot_agent_sends_is_taken(name: str) -> None:
    request = (VECTORS / f"pilot-agent-{name}.pem").read_bytes()

    csr = judged(request, ISTIO)

    assert isinstance(csr.public_key, rsa.RSAPublicKey if name == "rsa-2048" else ec.EllipticCurvePublicKey)
    public = openssl("req", "-noout", "-pubkey", stdin=request)
    assert csr.spki == openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
    assert csr.spki_sha256 == openssl("dgst", "-sha256", "-binary", stdin=csr.spki)


def test_what_ztunnel_sends_is_taken(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    names = f"subjectAltName=critical,URI:{SPIFFE_ID}"
    request = openssl("req", "-new", "-key", str(key), "-subj", "/", "-addext", names)

    csr = judged(request, ISTIO)

    assert csr.spki == openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")


def test_what_linkerd_proxies_send_is_taken() -> None:
    request = (VECTORS / "linkerd-proxy-identity.der").read_bytes()

    csr = judged(request, LINKERD)

    public = openssl("req", "-inform", "DER", "-noout", "-pubkey", stdin=request)
    assert csr.spki == openssl("pkey", "-pubin", "-outform", "DER", stdin=public)


def test_a_common_name_of_more_than_64_characters_is_taken_without_a_warning() -> None:
    name = LinkerdName(ServiceAccount("linkerd", "linkerd-identity"), "linkerd", TRUST_DOMAIN)
    request = (VECTORS / "linkerd-proxy-identity-long.der").read_bytes()
    assert len(str(name)) > 64

    csr = judge(request, Form.DER, expected=Expected.linkerd(name), rules=NO_RULES)

    assert isinstance(csr.public_key, ec.EllipticCurvePublicKey)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_what_cryptography_builds_is_taken(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    digest = hashes.SHA256() if curve.key_size == 256 else hashes.SHA384()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SPIFFE_ID)]), critical=False)
        .sign(key, digest)
    )

    assert judged(request.public_bytes(Encoding.PEM), ISTIO).public_key == key.public_key()


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize(
    "key",
    [keys.p256, keys.p384, *(lambda bits=bits: keys.rsa_of(bits) for bits in (2048, 3072, 4096))],
    ids=["p256", "p384", "rsa-2048", "rsa-3072", "rsa-4096"],
)
def test_every_allowed_key_is_taken_at_both_doors(door: Door, key: keys.Maker) -> None:
    assert judged(Body(door=door, key=key()).encoded(), door).spki == key().spki


@pytest.mark.parametrize(
    ("door", "name"),
    [
        (ISTIO, der.sequence()),
        (ISTIO, subject((ORGANIZATION, b""))),
        (LINKERD, der.sequence()),
        (LINKERD, subject((COMMON_NAME, LINKERD_NAME.encode()))),
    ],
    ids=["istio-empty", "istio-o", "linkerd-empty", "linkerd-cn"],
)
def test_the_subjects_of_real_clients_are_taken(door: Door, name: bytes) -> None:
    request = Body(door=door, key=keys.p256(), subject=name).encoded()

    assert judged(request, door).spki == keys.p256().spki


@pytest.mark.parametrize("critical", [True, False], ids=["critical", "ignorable"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_the_san_may_be_critical_or_not(door: Door, critical: bool) -> None:
    request = Body(door=door, key=keys.p256(), attributes=[extension_request(san(door.honest, critical=critical))])

    assert judged(request.encoded(), door).spki == keys.p256().spki


_SERVER, _CLIENT = der.oid("1.3.6.1.5.5.7.3.1"), der.oid("1.3.6.1.5.5.7.3.2")


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (KEY_USAGE, der.bits(b"\x80", unused=7)),
        (KEY_USAGE, der.bits(b"\xa0", unused=5)),
        (KEY_USAGE, der.bits(b"\xf8", unused=3)),
        (KEY_USAGE, der.bits(b"\x08\x80", unused=7)),
        (EXTENDED_KEY_USAGE, der.sequence(_SERVER)),
        (EXTENDED_KEY_USAGE, der.sequence(_CLIENT)),
        (EXTENDED_KEY_USAGE, der.sequence(_SERVER, _CLIENT)),
        (EXTENDED_KEY_USAGE, der.sequence(_CLIENT, _SERVER)),
        (BASIC_CONSTRAINTS, der.sequence()),
    ],
    ids=["signs", "signs-and-wraps", "five", "agrees", "server", "client", "both", "both-turned-round", "leaf"],
)
def test_extensions_that_a_leaf_could_hold_may_be_asked_for(oid: str, value: bytes) -> None:
    request = Body(door=ISTIO, key=keys.p256(), extensions=[extension(oid, value, critical=True)])

    assert judged(request.encoded(), ISTIO).spki == keys.p256().spki


def test_an_expectation_is_one_name_of_one_kind() -> None:
    with pytest.raises(ValueError, match="exactly one name"):
        Expected()
    with pytest.raises(ValueError, match="exactly one name"):
        Expected(uri=SPIFFE_ID, dns=LINKERD_NAME)


def test_long_names_are_compared_with_their_whole_length() -> None:
    name = f"spiffe://cluster.local/{'a' * 2025}"
    request = Body(door=ISTIO, key=keys.p256(), names=[uri(name)]).encoded()

    assert judge(request, Form.PEM, expected=Expected(uri=name), rules=NO_RULES).spki == keys.p256().spki
    with pytest.raises(BadRequest, match="ask for URI"):
        judge(request, Form.PEM, expected=Expected(uri=name[:-1]), rules=NO_RULES)


def test_a_request_of_16_kib_is_read_and_one_byte_more_is_not() -> None:
    def padded(size: int) -> bytes:
        spare = size - len(Body(door=LINKERD, key=keys.p256(), names=[dns(b"a" * 15_000)]).encoded())
        return Body(door=LINKERD, key=keys.p256(), names=[dns(b"a" * (15_000 + spare))]).encoded()

    # An ECDSA signature is a byte or two shorter now and then.
    sizes: dict[int, bytes] = {}
    while not {MAX_REQUEST, MAX_REQUEST + 1} <= sizes.keys():
        for size in (MAX_REQUEST, MAX_REQUEST + 1):
            request = padded(size)
            sizes[len(request)] = request

    assert refusal(sizes[MAX_REQUEST], LINKERD).check == "names"
    assert refusal(sizes[MAX_REQUEST + 1], LINKERD).check == "size"


def test_our_own_keys_are_asked_for_at_each_request() -> None:
    own: set[bytes] = set()
    rules = Rules(own_keys=lambda: own)
    request = Body(door=ISTIO, key=keys.p256()).encoded()

    own.add(judged(request, ISTIO, rules).spki_sha256)

    assert refusal(request, ISTIO, rules).check == "blocked-key"


def test_a_key_on_the_block_list_is_refused() -> None:
    request = Body(door=ISTIO, key=keys.p256()).encoded()
    rules = Rules(blocked=BlockedKeys.of([judged(request, ISTIO).spki_sha256]))

    assert refusal(request, ISTIO, rules).check == "blocked-key"


def _key_with_faults_from(check: str) -> keys.Key:
    """A key with this fault and, where one key can have them, those that are looked for later."""
    makers: dict[str, keys.Maker] = {
        "key-type": keys.edwards,
        "curve": lambda: keys.on_curve(ec.SECP521R1),
        "key-encoding": keys.p256_off_its_curve,
        "key-size": lambda: keys.rsa_with_close_primes(bits=1024, exponent=3),
        "exponent": lambda: keys.rsa_with_close_primes(exponent=3),
        "weak-key": keys.rsa_with_close_primes,
    }
    later = CHECKS[CHECKS.index(check) :]
    return next((makers[name] for name in later if name in makers), keys.p256)()


@pytest.mark.parametrize("check", CHECKS)
def test_checks_are_made_in_the_order_of_the_list(check: str) -> None:
    """A request with this fault and every one after it is refused for this one."""
    faults = CHECKS[CHECKS.index(check) :]
    names = [uri("spiffe://evil/x") if "names" in faults else ISTIO.honest]
    authority = extension(BASIC_CONSTRAINTS, der.sequence(der.TRUE))
    attributes = [extension_request(san(*names), *([authority] if "extensions" in faults else []))]
    if "attributes" in faults:
        attributes.append(attribute("1.2.840.113549.1.9.7", der.utf8(b"secret")))

    request = Body(
        door=ISTIO,
        key=_key_with_faults_from(check),
        version=1 if "version" in faults else 0,
        subject=subject((COMMON_NAME, b"admin")) if "subject" in faults else der.sequence(),
        attributes=attributes,
        algorithm=keys.RSA_SHA1 if "signature-algorithm" in faults else None,
        spoil="possession" in faults,
    ).der()
    request = request + b"\0" if "syntax" in faults else request
    request = b"\n" + pem(request) if "form" in faults else pem(request)
    request = request + bytes(MAX_REQUEST) if "size" in faults else request

    every_key_is_ours = Rules(own_keys=_Everything) if "blocked-key" in faults else NO_RULES
    assert refusal(request, ISTIO, every_key_is_ours).check == check


class _Everything:
    """A set that has every key."""

    def __contains__(self, key: object) -> bool:
        return True


def test_the_list_of_checks_is_the_one_that_the_module_explains() -> None:
    explained = re.findall(r"^\d+\. ``([a-z-]+)`` – ", judgement.__doc__ or "", re.MULTILINE)

    assert tuple(explained) == CHECKS


def test_elliptic_curves_do_not_load_what_only_rsa_needs() -> None:
    program = (
        "import sys; from tests.csr.test_judge import *;"
        "judged((VECTORS / 'pilot-agent-p256.pem').read_bytes(), ISTIO);"
        "assert 'badkeys' not in sys.modules;"
        "judged((VECTORS / 'pilot-agent-rsa-2048.pem').read_bytes(), ISTIO);"
        "assert 'badkeys' in sys.modules"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=VECTORS.parents[2])
