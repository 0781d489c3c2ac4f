"""The signature format: what is no compact JWS as Kubernetes writes it is refused; PyJWT is the oracle."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from meshca.errors import NotProven
from meshca.tokens import jws
from tests.tokens.mint import Mint, claims, private_key

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(content: bytes | str) -> str:
    """base64url by the standard library's own encoder."""
    return base64.urlsafe_b64encode(content.encode() if isinstance(content, str) else content).rstrip(b"=").decode()


def opened(token: str, key: jws.VerificationKey) -> dict[str, Any] | None:
    """The claims of a token that this key signed, by our code; None when it is refused."""
    try:
        compact = jws.split(token)
        header = jws.read_header(compact.header)
        signature = jws.decode(compact.signature, check="signature")
        if (header.kid, header.algorithm) != (key.kid, key.algorithm) or not key.verifies(signature, compact.signed):
            return None
        return jws.parse(jws.decode(compact.payload, check="claims"), check="claims")
    except NotProven:
        return None


def opened_by_pyjwt(token: str, mint: Mint) -> dict[str, Any] | None:
    """The same by PyJWT, told the one algorithm of the key."""
    checks: Any = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False)
    try:
        return jwt.decode(token, mint.key.public_key(), algorithms=[mint.algorithm], options=checks)
    except (jwt.PyJWTError, ValueError):
        return None


def lenient_signature(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")


def key_of(mint: Mint) -> jws.VerificationKey:
    return jws.VerificationKey(mint.kid, mint.key.public_key())


MINTS = [Mint(algorithm=algorithm) for algorithm in ("RS256", "ES256", "ES384", "ES512")]


@pytest.mark.parametrize("mint", MINTS, ids=lambda mint: mint.algorithm)
def test_a_token_of_each_accepted_algorithm_is_opened(mint: Mint) -> None:
    token = mint.token()

    assert opened(token, key_of(mint)) == claims()


def test_the_algorithms_tried_are_all_that_are_accepted() -> None:
    assert tuple(mint.algorithm for mint in MINTS) == jws.ALGORITHMS


@pytest.mark.parametrize("mint", MINTS, ids=lambda mint: mint.algorithm)
def test_the_signature_of_another_key_of_the_same_kind_is_refused(mint: Mint) -> None:
    other = Mint(algorithm=mint.algorithm, number=1)

    assert opened(mint.token(), key_of(other)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(extra=st.dictionaries(st.text(min_size=1, max_size=10), json_values, max_size=4), mint=st.sampled_from(MINTS))
@settings(max_examples=60, deadline=None)
def test_what_pyjwt_mints_and_accepts_we_accept_with_the_same_claims(extra: dict[str, Any], mint: Mint) -> None:
    # PyJWT has opinions on the registered claims' types, which are not the signature's matter.
    assume(not {"sub", "jti", "iss", "aud", "exp", "nbf", "iat"} & extra.keys())
    token = mint.sign({**extra, "iss": "me"})

    accepted = opened_by_pyjwt(token, mint)

    assert accepted is not None
    assert opened(token, key_of(mint)) == accepted


@st.composite
def mangled(draw: st.DrawFn, mint: Mint) -> str:
    """A valid token with a few characters changed, left out, put in, or whole segments exchanged."""
    characters = list(mint.token())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(characters) - 1))
        put = draw(st.sampled_from([*ALPHABET, ".", "=", "+", "/", " ", "\n", "\0", "é", ""]))
        match draw(st.sampled_from(["replace", "insert", "append", "last"])):
            case "replace":
                characters[at] = put
            case "insert":
                characters.insert(at, put)
            case "append":
                characters.append(put)
            case "last":
                ends = [i for i, character in enumerate(characters) if character == "."] + [len(characters)]
                characters[draw(st.sampled_from(ends)) - 1] = put
        assume(len(characters) > 1)
    return "".join(characters)


@given(data=st.data(), mint=st.sampled_from(MINTS[:2]))
@settings(max_examples=400, deadline=None)
def test_whatever_pyjwt_refuses_we_refuse(data: st.DataObject, mint: Mint) -> None:
    token = data.draw(mangled(mint))

    ours = opened(token, key_of(mint))

    if ours is not None:
        assert ours == opened_by_pyjwt(token, mint)


@pytest.mark.parametrize("mint", MINTS[:2], ids=lambda mint: mint.algorithm)
def test_a_signature_has_one_way_to_be_written(mint: Mint) -> None:
    """The last character of each has four unused bits: a lenient decoder reads sixteen characters as one."""
    valid = mint.token()
    spellings = [valid[:-1] + character for character in ALPHABET]
    alike = [token for token in spellings if lenient_signature(token) == lenient_signature(valid)]

    accepted = [token for token in spellings if opened(token, key_of(mint)) is not None]

    assert len(alike) == 16
    assert accepted == [valid]


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(deadline=None)
def test_no_text_makes_the_parser_fail_in_another_way_than_refusing(text: str) -> None:
    checks = set()
    for read in (jws.split, jws.unverified_claims):
        try:
            read(text)
        except NotProven as error:
            checks.add(error.check)

    assert checks <= {"shape", "claims"}


@given(content=st.binary(max_size=100))
@settings(deadline=None)
def test_what_the_standard_library_encodes_is_decoded(content: bytes) -> None:
    assume(content)

    assert jws.decode(b64(content).encode(), check="x") == content
    assert jws.encode(content) == b64(content)


@pytest.mark.parametrize(
    "segment", [b"QUJD\n\n\n\nQUJD", b"QUJD====", b"QUJ=", b"QU==", b"Q", b"QUJDQ", b"++++", b"\0\0\0\0"]
)
def test_a_segment_with_anything_else_in_it_is_refused(segment: bytes) -> None:
    with pytest.raises(NotProven):
        jws.decode(segment, check="x")


@given(segment=st.text(ALPHABET, min_size=1, max_size=12))
@settings(deadline=None)
def test_a_segment_is_decoded_only_when_it_is_the_one_encoding_of_its_bytes(segment: str) -> None:
    try:
        content = jws.decode(segment.encode(), check="x")
    except NotProven:
        # Then the standard library, which is lenient, would write its bytes in another way.
        lenient = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)) if len(segment) % 4 != 1 else None
        assert lenient is None or b64(lenient) != segment
    else:
        assert b64(content) == segment


VALID = Mint().token()
HEADER, PAYLOAD, SIGNATURE = VALID.split(".")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param("", "three", id="empty"),
        pytest.param(".", "three", id="one dot"),
        pytest.param("..", "empty", id="three empty segments"),
        pytest.param(f"{HEADER}.{PAYLOAD}", "three", id="two segments"),
        pytest.param(f"{HEADER}.{PAYLOAD}.", "empty", id="without signature (RFC 7519 §6)"),
        pytest.param(f".{PAYLOAD}.{SIGNATURE}", "empty", id="without header"),
        pytest.param(f"{VALID}.", "three", id="trailing dot"),
        pytest.param(f"{VALID}.{SIGNATURE}", "three", id="four segments"),
        pytest.param(f"{VALID}.{SIGNATURE}.AAAA", "three", id="five segments, as JWE"),
        pytest.param(f"{VALID}\n", "three", id="trailing newline"),
        pytest.param(f" {VALID}", "three", id="leading space"),
        pytest.param(f"Bearer {VALID}", "three", id="with its scheme"),
        pytest.param(f"{VALID}=", "three", id="padding"),
        pytest.param(VALID.replace(".", "+.", 1), "three", id="character of plain base64"),
        pytest.param(f"{VALID}\0", "three", id="NUL"),
        pytest.param(f"{VALID}\u0660", "ASCII", id="a digit, but not an ASCII one"),
        pytest.param(json.dumps({"payload": PAYLOAD, "signatures": []}), "three", id="JSON serialisation"),
    ],
)
def test_what_is_not_three_segments_is_refused(token: str, why: str) -> None:
    with pytest.raises(NotProven, match=why) as refusal:
        jws.split(token)

    assert refusal.value.check == "shape"


ALG = '"alg":"RS256","kid":"k"'


@pytest.mark.parametrize(
    ("header", "check"),
    [
        pytest.param("{}", "algorithm", id="empty object"),
        pytest.param("[]", "header", id="array"),
        pytest.param('"alg"', "header", id="string"),
        pytest.param("null", "header", id="null"),
        pytest.param("", "header", id="nothing"),
        pytest.param("{" + ALG, "header", id="cut off"),
        pytest.param("{" + ALG + "}{}", "header", id="two objects"),
        pytest.param("{" + ALG + "} ", "header", id="white space behind"),
        pytest.param("{" + ALG + ',"alg":"none"}', "header", id="alg twice"),
        pytest.param("{" + ALG + ',"kid":"k"}', "header", id="kid twice, alike"),
        pytest.param('{"alg":"RS256","kid":"k","k\\u0069d":"l"}', "header", id="kid twice, once escaped"),
        pytest.param('{"alg":"RS256","kid":NaN}', "header", id="NaN"),
        pytest.param('{"alg":"RS256"}', "header", id="no kid"),
        pytest.param('{"alg":"RS256","kid":""}', "header", id="empty kid"),
        pytest.param('{"alg":"RS256","kid":7}', "header", id="kid is a number"),
        pytest.param('{"alg":"RS256","kid":["k"]}', "header", id="kid is a list"),
        pytest.param('{"alg":"none","kid":"k"}', "algorithm", id="53: alg none"),
        pytest.param('{"alg":"None","kid":"k"}', "algorithm", id="53: alg None"),
        pytest.param('{"alg":"HS256","kid":"k"}', "algorithm", id="53: HS256"),
        pytest.param('{"alg":"RS384","kid":"k"}', "algorithm", id="RS384"),
        pytest.param('{"alg":"PS256","kid":"k"}', "algorithm", id="PS256"),
        pytest.param('{"alg":"EdDSA","kid":"k"}', "algorithm", id="EdDSA"),
        pytest.param('{"alg":"ES256K","kid":"k"}', "algorithm", id="ES256K"),
        pytest.param('{"alg":"rs256","kid":"k"}', "algorithm", id="lower case"),
        pytest.param('{"alg":null,"kid":"k"}', "algorithm", id="null"),
        pytest.param('{"alg":["RS256"],"kid":"k"}', "algorithm", id="a list"),
        pytest.param('{"Alg":"RS256","kid":"k"}', "header", id="Alg"),
        pytest.param("{" + ALG + ',"crit":["exp"]}', "header", id="crit"),
        pytest.param("{" + ALG + ',"b64":false}', "header", id="b64"),
        pytest.param("{" + ALG + ',"jku":"https://evil.example/keys"}', "header", id="67: jku"),
        pytest.param("{" + ALG + ',"jwk":{"kty":"oct","k":"AA"}}', "header", id="jwk"),
        pytest.param("{" + ALG + ',"x5u":"https://evil.example"}', "header", id="67: x5u"),
        pytest.param("{" + ALG + ',"x5c":[]}', "header", id="x5c"),
        pytest.param("{" + ALG + ',"zip":"DEF"}', "header", id="zip"),
        pytest.param("{" + ALG + ',"typ":"at+jwt"}', "header", id="typ of another kind of token"),
        pytest.param("{" + ALG + ',"typ":"jwt"}', "header", id="typ in lower case"),
        pytest.param("{" + ALG + ',"typ":null}', "header", id="typ null"),
        pytest.param('{"alg":"RS256","kid":"' + "k" * 1600 + '"}', "header", id="too long"),
        pytest.param('{"alg":"RS256","kid":' + "[" * 1200 + "]" * 1200 + "}", "header", id="54: nested"),
    ],
)
def test_a_header_that_kubernetes_would_not_write_is_refused(header: str, check: str) -> None:
    with pytest.raises(NotProven) as refusal:
        jws.read_header(b64(header).encode())

    assert refusal.value.check == check


@pytest.mark.parametrize("header", [b"\xff\xfe{\0}\0", b'\xef\xbb\xbf{"alg":"RS256","kid":"k"}', b'{"kid":"\xff"}'])
def test_a_header_in_another_encoding_than_utf_8_is_refused(header: bytes) -> None:
    with pytest.raises(NotProven):
        jws.read_header(b64(header).encode())


def test_a_header_as_long_as_the_limit_is_read_and_one_character_more_is_not() -> None:
    def of(length: int) -> bytes:
        # Growing the kid by three bytes grows the segment by four characters.
        kid = "k" * ((length * 3) // 4 - len('{"alg":"RS256","kid":""}'))
        return b64(json.dumps({"alg": "RS256", "kid": kid}, separators=(",", ":"))).encode()

    longest = of(jws.MAX_HEADER)
    assert len(longest) == jws.MAX_HEADER
    assert jws.read_header(longest).algorithm == "RS256"
    with pytest.raises(NotProven, match="over 2048"):
        jws.read_header(longest + b"A")


def test_an_external_signers_longest_key_name_fits() -> None:
    kid = "k" * 1024
    header = b64(json.dumps({"alg": "ES256", "typ": "JWT", "kid": kid})).encode()

    assert jws.read_header(header) == jws.Header("ES256", kid)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"sub":"a","sub":"b"}', id="65: a claim twice"),
        pytest.param(b'{"kubernetes.io":{"namespace":"a","namespace":"b"}}', id="65: a nested claim twice"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b'{"exp":Infinity}', id="Infinity"),
        pytest.param(b'{"exp":' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b'{"a":' * 2000 + b"1" + b"}" * 2000, id="54: 2000 objects deep"),
        pytest.param(b"[" * 12000, id="54: 12000 brackets"),
        pytest.param(b'{"sub":"\n"}', id="a raw newline in a string"),
    ],
)
def test_claims_that_can_be_read_in_two_ways_or_in_none_are_refused(payload: bytes) -> None:
    with pytest.raises(NotProven) as refusal:
        jws.parse(payload, check="claims")

    assert refusal.value.check == "claims"


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    mint = Mint(algorithm="ES256")
    signed = mint.token().rpartition(".")[0]
    assert isinstance(mint.key, ec.EllipticCurvePrivateKey)
    der = mint.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))

    assert mint.key.public_key().verify(der, signed.encode(), ec.ECDSA(hashes.SHA256())) is None
    assert opened(f"{signed}.{b64(der)}", key_of(mint)) is None


@pytest.mark.parametrize(
    "mangle",
    [
        lambda s: s[:-1],
        lambda s: s + b"\0",
        lambda s: b"\0" + s,
        lambda s: s[:32] + b"\0" + s[32:],
        lambda s: bytes(64),
    ],
)
def test_an_ecdsa_signature_of_another_length_or_of_zeros_is_refused(mangle: Any) -> None:
    mint = Mint(algorithm="ES256")
    token = mint.token()
    signed = token.rpartition(".")[0]

    assert opened(f"{signed}.{b64(mangle(lenient_signature(token)))}", key_of(mint)) is None


def test_the_wildcard_signature_of_the_year_2022_is_refused() -> None:
    """CVE-2022-21449: r and s both of the curve's order, or zero, verified everything in one library."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mint = Mint(algorithm="ES256")
    signed = mint.token().rpartition(".")[0]

    for number in (0, 1, order, order - 1):
        signature = number.to_bytes(32) * 2
        assert opened(f"{signed}.{b64(signature)}", key_of(mint)) is None


def test_a_mac_keyed_with_the_public_key_is_refused() -> None:
    """53: the classic confusion. The token says HS256 and is signed with what everybody knows."""
    mint = Mint()
    pem = mint.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': mint.kid}))}.{b64(json.dumps(claims()))}"
    token = f"{signed}.{b64(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"

    assert opened(token, key_of(mint)) is None


def test_a_key_on_a_curve_that_kubernetes_does_not_use_is_no_verification_key() -> None:
    with pytest.raises(ValueError, match="secp256k1"):
        jws.VerificationKey("k", ec.generate_private_key(ec.SECP256K1()).public_key())


def test_what_we_sign_pyjwt_accepts() -> None:
    key = private_key("RS256", 0)
    assert isinstance(key, rsa.RSAPrivateKey)

    token = jws.sign_rs256(claims(), key, "the-key")

    assert opened_by_pyjwt(token, Mint()) == claims()
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "the-key"}
