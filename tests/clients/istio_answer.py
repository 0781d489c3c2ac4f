"""What an Istio proxy needs of its certificate so that its peers take it, whichever client fetched it."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from tests.clients.csr import Key
from tests.clients.errors import AnswerRefused, AnswerUseless, ChainRefused
from tests.clients.workload import Workload, has_key, pem_blocks


def parse(pem: str, what: str) -> x509.Certificate:
    """One certificate. Raises AnswerRefused when that is no certificate."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise AnswerRefused(f"the {what} does not parse: {error}") from error


def judge(workload: Workload, key: Key, *, now: datetime) -> None:
    """See that TLS can present it and that peers would take it. Raises AnswerUseless.

    It must be no CA (X509-10), the key ours, the one URI SAN our SPIFFE ID (X509-2), and the chain must verify to
    the roots that the client took from the same answer.
    """
    leaf = workload.certificate
    if any(isinstance(each.value, x509.BasicConstraints) and each.value.ca for each in leaf.extensions):
        raise AnswerUseless("the leaf is a CA certificate")
    if not has_key(leaf, key):
        raise AnswerUseless("the leaf is not for the key of the CSR")
    if [name for name in workload.names if "://" in name] != [workload.identity]:
        raise AnswerUseless(f"peers expect {workload.identity} and would see {workload.names}")
    try:
        workload.verify(at=now)
    except ChainRefused as error:
        raise AnswerUseless(f"the chain does not verify to the roots of the last string: {error}") from error


def judge_roots(cert_chain: list[str]) -> None:
    """See that every root is where the clients look: both trust the last string and no other (§0.1).

    Raises AnswerUseless when there is none, or when one stands before: split roots were istio#55793.
    """
    if not pem_blocks(cert_chain[-1]):
        raise AnswerUseless("the last string holds no root")
    for string in cert_chain[1:-1]:
        for block in pem_blocks(string):
            certificate = parse(block, "chain")
            if certificate.subject == certificate.issuer:
                raise AnswerUseless(f"root {certificate.subject.rfc4514_string()} stands outside the last string")
