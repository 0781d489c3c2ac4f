"""The CSRs are what the reference says that the real clients send, as OpenSSL reads them."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.csr import Key, linkerd_csr, pilot_agent_csr, ztunnel_csr

_LONG = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"
_URI = "spiffe://cluster.local/ns/emojivoto/sa/web"


def _read(csr: bytes, form: str) -> str:
    command = ["openssl", "req", "-inform", form, "-verify", "-noout", "-text", "-nameopt", "RFC2253,show_type"]
    done = subprocess.run(command, input=csr, capture_output=True, check=True, timeout=30)
    assert b"verify OK" in done.stderr
    return done.stdout.decode()


def test_linkerds_csr_has_the_name_as_cn_even_over_64_characters_and_as_the_one_dns_san() -> None:
    text = _read(linkerd_csr(ec.generate_private_key(ec.SECP256R1()), _LONG), "DER")

    assert len(_LONG) == 70
    assert f"Subject: CN=PRINTABLESTRING:{_LONG}\n" in text
    assert f"X509v3 Subject Alternative Name: \n                    DNS:{_LONG}\n" in text
    assert "ecdsa-with-SHA256" in text


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), "sha256WithRSAEncryption"),
        (ec.generate_private_key(ec.SECP256R1()), "ecdsa-with-SHA256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-with-SHA384"),
    ],
    ids=["rsa-2048", "ec-p256", "ec-p384"],
)
def test_pilot_agents_csr_has_an_empty_organization_and_a_critical_uri_san(key: Key, algorithm: str) -> None:
    text = _read(pilot_agent_csr(key, _URI).encode(), "PEM")

    assert "Subject: O=PRINTABLESTRING:\n" in text
    assert f"X509v3 Subject Alternative Name: critical\n                    URI:{_URI}\n" in text
    assert f"Signature Algorithm: {algorithm}" in text


def test_ztunnels_csr_has_an_empty_subject_and_a_critical_uri_san() -> None:
    text = _read(ztunnel_csr(ec.generate_private_key(ec.SECP256R1()), _URI).encode(), "PEM")

    assert "Subject: \n" in text
    assert f"X509v3 Subject Alternative Name: critical\n                    URI:{_URI}\n" in text
