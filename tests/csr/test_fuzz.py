"""Whatever the bytes are: a refusal by name, or a request that OpenSSL's own reading finds honest, too."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshca.csr import CHECKS, Form, Rules, SigningRequest, judge
from meshca.errors import BadRequest
from tests.attacks import der, keys
from tests.attacks.requests import (
    DOORS,
    EXTENSION_REQUEST,
    ISTIO,
    LINKERD,
    LINKERD_NAME,
    SPIFFE_ID,
    Body,
    Door,
    attribute,
    dns,
    extension,
    pem,
    san,
    uri,
)

VECTORS = Path(__file__).parent / "vectors"
LINKERD_CSR = (VECTORS / "linkerd-proxy-identity.der").read_bytes()
ISTIO_CSRS = [(VECTORS / f"pilot-agent-{name}.pem").read_bytes() for name in ("p256", "p384", "rsa-2048")]

doors = st.sampled_from(DOORS)
rubbish = st.binary(max_size=300)
lengths = st.integers(0, 2**16)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """A few bytes changed, cut out, put in or doubled."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["change", "cut", "insert", "double", "end"])):
            case "change" if place < len(content):
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[place : place + draw(st.integers(1, 8))]
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 40))]
            case _:
                del content[place:]
    return bytes(content)


@st.composite
def elements(draw: st.DrawFn, depth: int = 4) -> bytes:
    """DER of any tags, right in its lengths, for what is read behind the signature."""
    tag = draw(st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x30, 0x31, 0x82, 0x86, 0xA0]))
    if depth and tag in {0x30, 0x31, 0xA0}:
        return der.tlv(tag, *draw(st.lists(elements(depth - 1), max_size=4)))
    return der.tlv(tag, draw(st.binary(max_size=12)))


def outcome(request: bytes, door: Door) -> SigningRequest | BadRequest:
    try:
        return judge(request, door.form, expected=door.expected, rules=Rules())
    except BadRequest as refusal:
        return refusal


def check(request: bytes, door: Door) -> None:
    """The property: nothing but a BadRequest leaves, and what is taken is honest in another's eyes."""
    csr = outcome(request, door)
    if isinstance(csr, BadRequest):
        assert csr.check in CHECKS
        assert str(csr).isprintable()
        return
    loaded = (x509.load_pem_x509_csr if door.form is Form.PEM else x509.load_der_x509_csr)(request)
    assert loaded.is_signature_valid
    key = loaded.public_key()
    assert key == csr.public_key
    assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == csr.spki
    name = SPIFFE_ID if door is ISTIO else LINKERD_NAME
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [general.value for general in names] == [name]
    assert len(loaded.attributes) == 1
    with warnings.catch_warnings():
        # A common name of more than 64 characters is not X.520's, and Linkerd's all the same.
        warnings.simplefilter("ignore", UserWarning)
        assert {part.value for part in loaded.subject} <= {"", name}


@given(rubbish, doors)
@example(b"", ISTIO)
@example(b"\x30\x80", LINKERD)
@example(b"\x30\x84\xff\xff\xff\xff", LINKERD)
def test_bytes_that_are_no_request_are_refused(request: bytes, door: Door) -> None:
    with pytest.raises(BadRequest):
        judge(request, door.form, expected=door.expected, rules=Rules())


@given(mutated(LINKERD_CSR))
def test_a_changed_linkerd_request_is_refused_or_honest(request: bytes) -> None:
    check(request, LINKERD)


@given(st.sampled_from(ISTIO_CSRS).flatmap(mutated))
def test_a_changed_istio_request_is_refused_or_honest(request: bytes) -> None:
    check(request, ISTIO)


@given(mutated(LINKERD_CSR))
def test_changed_der_in_sound_pem_is_refused_or_honest(content: bytes) -> None:
    check(pem(content), ISTIO)


@given(st.integers(0, 8 * len(LINKERD_CSR) - 1))
def test_a_flipped_bit_anywhere_is_refused(bit: int) -> None:
    request = bytearray(LINKERD_CSR)
    request[bit // 8] ^= 1 << bit % 8

    with pytest.raises(BadRequest):
        judge(bytes(request), Form.DER, expected=LINKERD.expected, rules=Rules())


@given(doors, elements() | rubbish)
def test_a_signed_subject_of_any_bytes_is_refused_or_honest(door: Door, subject: bytes) -> None:
    check(Body(door=door, key=keys.p256(), subject=subject).encoded(), door)


@given(doors, st.lists(elements() | rubbish, max_size=3))
def test_signed_attributes_of_any_bytes_are_refused_or_honest(door: Door, attributes: list[bytes]) -> None:
    check(Body(door=door, key=keys.p256(), attributes=attributes).encoded(), door)


@given(doors, st.lists(elements() | rubbish, max_size=3))
def test_signed_extension_lists_of_any_bytes_are_refused_or_honest(door: Door, values: list[bytes]) -> None:
    check(Body(door=door, key=keys.p256(), attributes=[attribute(EXTENSION_REQUEST, *values)]).encoded(), door)


@given(
    doors,
    st.sampled_from(["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37", "1.2.3"]),
    elements() | rubbish,
    st.booleans(),
)
def test_signed_extensions_of_any_bytes_are_refused_or_honest(
    door: Door, oid: str, value: bytes, critical: bool
) -> None:
    check(Body(door=door, key=keys.p256(), extensions=[extension(oid, value, critical=critical)]).encoded(), door)


@given(doors, st.lists(st.builds(uri, st.text()) | st.builds(dns, st.text()) | elements(), max_size=4), st.booleans())
def test_signed_names_of_any_kind_are_refused_or_honest(door: Door, names: list[bytes], honest_too: bool) -> None:
    check(Body(door=door, key=keys.p256(), names=[*names, *([door.honest] if honest_too else [])]).encoded(), door)


@settings(max_examples=30)
@given(doors, st.permutations([0, 1, 2]))
def test_the_order_of_extensions_is_free(door: Door, order: list[int]) -> None:
    extensions = [
        san(door.honest),
        extension("2.5.29.15", der.bits(b"\x80", unused=7)),
        extension("2.5.29.19", der.sequence()),
    ]
    chosen = der.sequence(*(extensions[place] for place in order))
    request = Body(door=door, key=keys.p256(), attributes=[attribute(EXTENSION_REQUEST, chosen)]).encoded()

    assert judge(request, door.form, expected=door.expected, rules=Rules()).spki == keys.p256().spki
