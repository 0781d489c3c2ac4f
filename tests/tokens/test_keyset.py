"""A cluster's key set is read as RFC 7517 says, and what could be a mistake is refused."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWKSet
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from meshca.errors import Misconfigured
from meshca.tokens import keyset
from meshca.tokens.jws import VerificationKey, key_id
from tests.tokens.mint import Mint, jwks

RSA, P256, P384, P521 = (Mint(algorithm=name, kid=name) for name in ("RS256", "ES256", "ES384", "ES512"))


def document(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


@pytest.mark.parametrize("mint", [RSA, P256, P384, P521], ids=lambda mint: mint.algorithm)
def test_a_published_key_is_found_by_its_name_and_is_the_key(mint: Mint) -> None:
    keys = keyset.parse(jwks(mint))

    found = keys.find(mint.kid)

    assert found is not None
    assert (found.algorithm, found.public_key) == (mint.algorithm, mint.key.public_key())
    assert keys.find("another") is None


def test_a_key_without_alg_and_use_is_for_its_types_one_algorithm() -> None:
    entry = {name: value for name, value in RSA.jwk.items() if name not in ("alg", "use")}

    found = keyset.parse(document(entry)).find("RS256")

    assert found is not None
    assert found.algorithm == "RS256"


def weak_rsa() -> dict[str, Any]:
    numbers = rsa.generate_private_key(65537, 1024).public_key()
    return {**RSAAlgorithm.to_jwk(numbers, as_dict=True), "kid": "weak"}


def off_curve() -> dict[str, Any]:
    return {**P256.jwk, "x": P256.jwk["y"], "kid": "off"}


def of_k1() -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True), "kid": "k1"}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "use": "enc"}, id="for encryption"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "key_ops": ["encrypt"]}, id="not for verifying"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "key_ops": "verify"}, id="operations are no list"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "alg": "RS512"}, id="another algorithm of its type"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "alg": "HS256"}, id="53: a MAC"),
        pytest.param(lambda: {**P256.jwk, "kid": "e", "alg": "RS256"}, id="53: algorithm of another type"),
        pytest.param(lambda: {name: v for name, v in RSA.jwk.items() if name != "kid"}, id="no name"),
        pytest.param(lambda: {**RSA.jwk, "kid": ""}, id="empty name"),
        pytest.param(lambda: {**RSA.jwk, "kid": 1}, id="name is a number"),
        pytest.param(weak_rsa, id="RSA of 1024 bits"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "e": "AQ"}, id="exponent 1"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "e": "gAAAAQ"}, id="68: exponent of 32 bits"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "n": RSA.jwk["n"] * 5}, id="68: RSA of 10240 bits"),
        pytest.param(lambda: {**RSA.jwk, "kid": "e", "n": RSA.jwk["n"] + "="}, id="padded modulus"),
        pytest.param(lambda: {name: v for name, v in RSA.jwk.items() if name != "n"}, id="no modulus"),
        pytest.param(off_curve, id="a point off its curve"),
        pytest.param(of_k1, id="a curve that is not used"),
        pytest.param(lambda: {**P256.jwk, "kid": "e", "crv": "P-384"}, id="the wrong curve"),
        pytest.param(lambda: {**P256.jwk, "kid": "e", "x": P256.jwk["x"][:-4]}, id="a shortened coordinate"),
        pytest.param(lambda: {"kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "pub": "AA"}, id="post-quantum"),
        pytest.param(lambda: {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AA"}, id="Ed25519"),
        pytest.param(dict, id="nothing"),
    ],
)
def test_an_entry_that_we_cannot_use_is_left_out_and_the_others_stay(entry: Any) -> None:
    keys = keyset.parse(document(entry(), P384.jwk))

    assert len(keys) == 1
    assert keys.find("ES384") is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"", "JSON object", id="empty"),
        pytest.param(b"<html>", "JSON object", id="a web page"),
        pytest.param(b"[]", "JSON object", id="array"),
        pytest.param(b"{}", "named 'keys'", id="no keys"),
        pytest.param(b'{"keys":{}}', "named 'keys'", id="keys are no list"),
        pytest.param(b'{"keys":[1]}', "named 'keys'", id="a key is no object"),
        pytest.param(b'{"keys":[]}', "no key", id="no key at all"),
        pytest.param(b'{"keys":[],"keys":[]}', "one way", id="keys twice"),
        pytest.param(document({"kty": "AKP", "kid": "pq"}), "no key", id="no usable key"),
        pytest.param(document(*[RSA.jwk] * 65), "65 keys", id="too many keys"),
        pytest.param(document(RSA.jwk, {**P256.jwk, "kid": "RS256"}), "two different keys", id="one name, two keys"),
        pytest.param(b'{"keys":[]}' + b" " * keyset.MAX_JWKS, "more than", id="too long"),
    ],
)
def test_a_document_that_is_no_key_set_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        keyset.parse(text)


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_a_document_with_a_private_key_is_refused_whole_and_the_key_is_not_quoted(member: str) -> None:
    secret = "c2VjcmV0LXNlY3JldA"

    with pytest.raises(Misconfigured, match="publishes a private key") as refusal:
        keyset.parse(document(P256.jwk, {**RSA.jwk, member: secret}))

    assert secret not in str(refusal.value)


def test_the_same_key_published_twice_is_one_key() -> None:
    assert len(keyset.parse(document(RSA.jwk, RSA.jwk))) == 1


def test_as_many_keys_as_the_limit_are_read() -> None:
    assert len(keyset.parse(document(*[{**P256.jwk, "kid": str(n)} for n in range(keyset.MAX_KEYS)]))) == 64


@pytest.mark.parametrize("mint", [RSA, P256, P384, P521], ids=lambda mint: mint.algorithm)
def test_what_we_publish_is_read_by_pyjwt(mint: Mint) -> None:
    published = keyset.published([VerificationKey("k", mint.key.public_key())])

    theirs = PyJWKSet.from_json(published.decode())["k"]

    assert theirs.key == mint.key.public_key()
    assert theirs.public_key_use == "sig"


def test_a_key_is_named_as_kubernetes_names_it() -> None:
    """base64url of the SHA-256 of its SubjectPublicKeyInfo, here by openssl."""
    key = P256.key.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, capture_output=True, check=True)
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-binary"], input=der.stdout, capture_output=True, check=True
    ).stdout

    assert key_id(key) == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
