"""One canonical PEM block and nothing else."""

from __future__ import annotations

import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from meshca import pem

LABEL = "CERTIFICATE REQUEST"


@given(st.binary(min_size=1, max_size=500))
def test_what_is_encoded_is_decoded(content: bytes) -> None:
    assert pem.decode(pem.encode(content, label=LABEL).encode(), label=LABEL) == content


@pytest.mark.parametrize("size", [1, 2, 3, 47, 48, 49, 95, 96, 97])
def test_lines_that_end_at_every_place_are_read(size: int) -> None:
    text = pem.encode(b"\x30" * size, label=LABEL)

    assert max(map(len, text.splitlines())) <= 64
    assert pem.decode(text.encode(), label=LABEL) == b"\x30" * size


def test_it_writes_what_openssl_writes() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    content = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    written = subprocess.run(
        ["openssl", "pkey", "-pubin", "-inform", "DER", "-outform", "PEM"],
        input=content,
        capture_output=True,
        check=True,
    ).stdout

    assert pem.encode(content, label="PUBLIC KEY").encode() == written
    assert pem.decode(written, label="PUBLIC KEY") == content


BLOCK = pem.encode(b"0" * 100, label=LABEL).encode()


@pytest.mark.parametrize(
    "text", [BLOCK, BLOCK.rstrip(), BLOCK.replace(b"\n", b"\r\n")], ids=["as-is", "no-end-of-line", "crlf"]
)
def test_what_clients_write_is_read(text: bytes) -> None:
    assert pem.decode(text, label=LABEL) == b"0" * 100


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BLOCK + BLOCK, "nothing around it"),
        (b"\n" + BLOCK, "nothing around it"),
        (BLOCK + b"\n", "nothing around it"),
        (b"text\n" + BLOCK, "nothing around it"),
        (b"\xef\xbb\xbf" + BLOCK, "nothing around it"),
        (BLOCK.replace(b"-----\nM", b"-----\nProc-Type: 4,ENCRYPTED\n\nM"), "nothing around it"),
        (BLOCK.replace(b"\n", b"\n\n"), "nothing around it"),
        (BLOCK.replace(b"\n", b" \n"), "nothing around it"),
        (BLOCK.replace(b"\n", b"\r"), "nothing around it"),
        (BLOCK.replace(b"M", b"_", 1), "nothing around it"),
        (BLOCK.replace(b"END CERTIFICATE REQUEST", b"END CERTIFICATE"), "nothing around it"),
        (BLOCK.replace(b"-----", b"----"), "nothing around it"),
        (BLOCK.replace(b"CERTIFICATE REQUEST", b"certificate request"), "nothing around it"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n", "nothing around it"),
        (b"", "nothing around it"),
        (BLOCK.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"), "found 'NEW CERTIFICATE REQUEST'"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMDA\n-----END CERTIFICATE REQUEST-----\n", "not base64"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMDB=\n-----END CERTIFICATE REQUEST-----\n", "not canonical"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMA=\n-----END CERTIFICATE REQUEST-----\n", "not base64"),
    ],
)
def test_anything_else_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(pem.BadPem, match=why):
        pem.decode(text, label=LABEL)


@given(st.binary(max_size=300) | st.text(alphabet="-BEGINCRTFUQS \n\rA+/=", max_size=300).map(str.encode))
def test_random_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(pem.BadPem):
        pem.decode(text, label=LABEL)


@pytest.mark.parametrize(
    "bomb",
    [
        b"-----BEGIN CERTIFICATE REQUEST-----\n" * 450,
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + (b"A" * 64 + b"\n") * 250,
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 16_000,
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"\n" * 16_000,
    ],
    ids=["begins", "no-end", "one-line", "newlines"],
)
def test_sixteen_kib_of_malice_cost_less_than_a_signature_check(bomb: bytes) -> None:
    started = time.process_time()
    for _ in range(100):
        with pytest.raises(pem.BadPem):
            pem.decode(bomb, label=LABEL)

    # 50 ms would be half a millisecond each; a pattern that backtracks takes seconds.
    assert time.process_time() - started < 0.5
