"""What an Istio proxy needs of its certificate so that its peers take it, whichever client fetched it."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from tests.clients.csr import Key
from tests.clients.errors import AnswerRefused, AnswerUseless, ChainRefused
from tests.clients.workload import Workload, has_key


def parse(pem: str, what: str) -> x509.Certificate:
    """One certificate. Raises AnswerRefused when that is no certificate."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise AnswerRefused(f"the {what} does not parse: {error}") from error


def judge(workload: Workload, key: Key, *, now: datetime) -> None:
    """See that TLS can present it and that peers would take it. Raises AnswerUseless.

    The key must be ours, the one SAN our SPIFFE ID (SPIFFE X509-3, X509-5), and the chain must verify to
    the roots that the client took from the same answer.
    """
    if not has_key(workload.certificate, key):
        raise AnswerUseless("the leaf is not for the key of the CSR")
    if workload.names != (workload.identity,):
        raise AnswerUseless(f"peers expect {workload.identity} and would see {workload.names}")
    try:
        workload.verify(at=now)
    except ChainRefused as error:
        raise AnswerUseless(f"the chain does not verify to the roots of the last string: {error}") from error
