"""The rules for keys agree with those for our own keys, and find no fault with good ones."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca.csr.parse import Form, parse
from meshca.csr.public_key import KEY_TYPES, key_type_of, load_key, refuse_weak
from meshca.keys import algorithms
from tests.attacks import keys
from tests.attacks.requests import LINKERD, Body


@pytest.mark.parametrize("made", algorithms.KEY_TYPES)
def test_requests_are_signed_as_our_own_keys_sign(made: str) -> None:
    public_key = algorithms.generate(made).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ours = algorithms.algorithm_of(public_key)
    request = Body(door=LINKERD, key=keys.Key(spki, ours.identifier, lambda signed: bytes(64))).der()

    key_type = key_type_of(parse(request, Form.DER))

    assert key_type.signature == ours.identifier
    assert key_type.hash.name == ours.hash.name
    assert load_key(parse(request, Form.DER), key_type) == public_key


def test_every_type_of_key_that_is_taken_is_one_that_we_make() -> None:
    assert {key_type.name for key_type in KEY_TYPES} == {"P-256", "P-384", "RSA"}


def test_good_rsa_keys_are_not_called_weak() -> None:
    for _ in range(5):
        refuse_weak(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key())
