"""What `fetch` demands of an answer, and what it does when none comes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshca._pb.istio import ca_pb2
from meshca._pb.linkerd import identity_pb2, identity_pb2_grpc
from meshca.cli.fetching.clients import IstioClient, LinkerdClient, Target, connect
from meshca.cli.fetching.delivery import SerialLog, deliver, write_files
from meshca.cli.fetching.requests import KeyType, istio_csr, linkerd_csr, make_key
from meshca.cli.fetching.verdict import Delivery, NotAcceptable, verify_istio, verify_linkerd
from meshca.errors import MeshcaError, Misconfigured, Unavailable
from tests.cli.mesh_authority import (
    NAME,
    NOW,
    SPIFFE_ID,
    Chain,
    Leaf,
    istio_leaf,
    linkerd_leaf,
    make_chain,
    new_key,
    with_names,
)

DNS, URI = x509.DNSName, x509.UniformResourceIdentifier


@pytest.fixture(scope="module")
def chain() -> Chain:
    return make_chain()


def test_what_a_linkerd_proxy_needs_is_accepted(chain: Chain) -> None:
    leaf = linkerd_leaf()

    verify_linkerd(chain.deliver(leaf), name=NAME, key=leaf.key, now=NOW)


def test_what_an_istio_client_needs_is_accepted(chain: Chain) -> None:
    leaf = istio_leaf()

    verify_istio(chain.deliver(leaf), spiffe_id=SPIFFE_ID, key=leaf.key, now=NOW)


Change = Callable[[Leaf], Leaf]
OTHER = DNS("bill.shop.serviceaccount.identity.linkerd.cluster.local")

BOTH_REFUSE: dict[str, tuple[Change, str]] = {
    "another key": (lambda leaf: replace(leaf, key=new_key()), "another key than ours"),
    "expired": (lambda leaf: replace(leaf, end=NOW - timedelta(seconds=1)), "does not verify"),
    "not yet valid": (lambda leaf: replace(leaf, begin=NOW + timedelta(seconds=1)), "does not verify"),
    "a CA": (lambda leaf: replace(leaf, ca=True), "does not verify"),
    "no server": (lambda leaf: replace(leaf, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "lacks serverAuth"),
    "no client": (lambda leaf: replace(leaf, usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), "lacks serverAuth or cli"),
}

LINKERD_REFUSES: dict[str, tuple[Change, str]] = {
    "another's name": (lambda leaf: with_names(leaf, OTHER), "first name"),
    "the name second": (lambda leaf: with_names(leaf, OTHER, DNS(NAME)), "first name"),
    "the SPIFFE ID first": (lambda leaf: with_names(leaf, URI(SPIFFE_ID), DNS(NAME)), "first name"),
    "the name with a dot": (lambda leaf: with_names(leaf, DNS(NAME + ".")), "first name"),
}

ISTIO_REFUSES: dict[str, tuple[Change, str]] = {
    "another's ID": (lambda leaf: with_names(leaf, URI("spiffe://cluster.local/ns/shop/sa/bill")), "URI names"),
    "another trust domain": (lambda leaf: with_names(leaf, URI("spiffe://evil/ns/shop/sa/cart")), "URI names"),
    "two IDs": (lambda leaf: with_names(leaf, URI(SPIFFE_ID), URI(SPIFFE_ID + "x")), "URI names"),
    "no ID": (lambda leaf: with_names(leaf, DNS(NAME)), "URI names"),
}


@pytest.mark.parametrize(
    ("change", "reason"), [*BOTH_REFUSE.values(), *LINKERD_REFUSES.values()], ids=[*BOTH_REFUSE, *LINKERD_REFUSES]
)
def test_what_a_linkerd_proxy_cannot_use_is_refused(chain: Chain, change: Change, reason: str) -> None:
    leaf = linkerd_leaf()
    delivery = replace(chain.deliver(change(leaf)), valid_until=NOW + timedelta(hours=1))

    with pytest.raises(NotAcceptable, match=reason):
        verify_linkerd(delivery, name=NAME, key=leaf.key, now=NOW)


@pytest.mark.parametrize(
    ("change", "reason"), [*BOTH_REFUSE.values(), *ISTIO_REFUSES.values()], ids=[*BOTH_REFUSE, *ISTIO_REFUSES]
)
def test_what_an_istio_client_cannot_use_is_refused(chain: Chain, change: Change, reason: str) -> None:
    leaf = istio_leaf()

    with pytest.raises(NotAcceptable, match=reason):
        verify_istio(chain.deliver(change(leaf)), spiffe_id=SPIFFE_ID, key=leaf.key, now=NOW)


@pytest.mark.parametrize(
    "broken",
    [
        lambda delivery: replace(delivery, chain=()),
        lambda delivery: replace(delivery, roots=(make_chain().root,)),
        lambda delivery: replace(delivery, chain=(make_chain().issuer,)),
    ],
    ids=["no intermediate", "other roots", "another's intermediate"],
)
def test_chain_that_does_not_lead_to_the_roots_is_refused(chain: Chain, broken: Callable[[Delivery], Delivery]) -> None:
    leaf = istio_leaf()

    with pytest.raises(NotAcceptable, match="does not verify to the roots"):
        verify_istio(broken(chain.deliver(leaf)), spiffe_id=SPIFFE_ID, key=leaf.key, now=NOW)


@pytest.mark.parametrize(
    ("valid_until", "reason"),
    [(None, "missing expiration"), (NOW, "already expired")],
    ids=["no valid_until", "valid_until is now"],
)
def test_linkerd_needs_an_end_that_is_still_to_come(chain: Chain, valid_until: Any, reason: str) -> None:
    leaf = linkerd_leaf()
    delivery = replace(chain.deliver(leaf), valid_until=valid_until)

    with pytest.raises(NotAcceptable, match=reason):
        verify_linkerd(delivery, name=NAME, key=leaf.key, now=NOW)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_openssl_reads_the_requests_and_their_signatures(key_type: KeyType, tmp_path: Path) -> None:
    key = make_key(key_type)
    (tmp_path / "linkerd").write_bytes(linkerd_csr(key, NAME))
    (tmp_path / "istio").write_bytes(istio_csr(key, SPIFFE_ID))

    def said(name: str, form: str) -> str:
        command = ["openssl", "req", "-in", str(tmp_path / name), "-inform", form, "-noout", "-text", "-verify"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    linkerd, istio = said("linkerd", "DER"), said("istio", "PEM")

    assert f"DNS:{NAME}" in linkerd
    assert f"CN = {NAME}" in linkerd
    assert f"URI:{SPIFFE_ID}" in istio
    assert "Subject Alternative Name: critical" in istio


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


class Answering:
    """An Istio stub that answers without a network."""

    def __init__(self, *strings: str) -> None:
        self.strings = strings

    def __call__(self, request: Any, **call: Any) -> ca_pb2.IstioCertificateResponse:
        return ca_pb2.IstioCertificateResponse(cert_chain=self.strings)


def istio_client(leaf: Leaf, chain: Chain, *strings: str) -> IstioClient:
    target = Target(address="127.0.0.1:1", server_name="istiod", roots_pem=pem(chain.root).encode())
    client = IstioClient(target, spiffe_id=SPIFFE_ID, cluster="Kubernetes", key=leaf.key, clock=lambda: NOW)
    client._stub.CreateCertificate = Answering(*strings)
    return client


def test_istio_answer_with_all_roots_in_its_last_string_is_read(chain: Chain) -> None:
    leaf, other = istio_leaf(), make_chain("two")
    strings = (pem(chain.sign(leaf)), pem(chain.issuer), pem(other.root, chain.root))

    delivery = istio_client(leaf, chain, *strings).ask("token", 1)

    assert delivery.chain == (chain.issuer,)
    assert delivery.roots == (other.root, chain.root)


def istio_answers(chain: Chain) -> dict[str, tuple[tuple[str, ...], str]]:
    leaf = pem(chain.sign(istio_leaf()))
    return {
        "nothing": ((), "invalid empty CertChain: 0"),
        "a leaf alone": ((leaf,), "invalid empty CertChain: 1"),
        "leaf and issuer in one string": ((leaf + pem(chain.issuer), pem(chain.root)), "is not one certificate"),
        "an empty string": (("", pem(chain.root)), "is not one certificate"),
        "no roots": ((leaf, pem(chain.issuer), ""), "no certificate"),
        "no certificate in PEM": (
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pem(chain.root)),
            "no certificate",
        ),
    }


@pytest.mark.parametrize("case", list(istio_answers(make_chain())))
def test_istio_answer_in_another_form_is_refused(chain: Chain, case: str) -> None:
    strings, reason = istio_answers(chain)[case]

    with pytest.raises(NotAcceptable, match=reason):
        istio_client(istio_leaf(), chain, *strings).ask("token", 1)


def test_token_is_never_sent_in_the_clear_to_another_machine() -> None:
    with pytest.raises(Misconfigured, match="a token is a password"):
        connect(Target(address="192.0.2.1:8080", server_name="", roots_pem=b""))


class Identity(identity_pb2_grpc.IdentityServicer):
    """Linkerd's service with prepared answers; a callable is asked, a status code is an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def Certify(self, request: Any, context: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "as the test says")
        return answer(request) if callable(answer) else answer


def certify_response(chain: Chain, leaf: Leaf) -> identity_pb2.CertifyResponse:
    answer = identity_pb2.CertifyResponse(
        leaf_certificate=chain.sign(leaf).public_bytes(Encoding.DER),
        intermediate_certificates=[chain.issuer.public_bytes(Encoding.DER)],
    )
    answer.valid_until.FromDatetime(leaf.end)
    return answer


@pytest.fixture
def identity(chain: Chain) -> Iterator[Callable[..., tuple[LinkerdClient, Leaf]]]:
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")

    def answering(*answers: Any) -> tuple[LinkerdClient, Leaf]:
        leaf = linkerd_leaf()
        prepared = [certify_response(chain, leaf) if each == "good" else each for each in answers]
        identity_pb2_grpc.add_IdentityServicer_to_server(Identity(*prepared), server)
        server.start()
        target = Target(address=f"127.0.0.1:{port}", server_name="", roots_pem=pem(chain.root).encode())
        return LinkerdClient(target, name=NAME, key=leaf.key, clock=lambda: NOW), leaf

    yield answering
    server.stop(None).wait()


def fetched(client: LinkerdClient, count: int, log: Path | None = None) -> list[Delivery]:
    received: list[Delivery] = []
    with SerialLog(log) as serials:
        deliver(client, token=lambda: "token", count=count, log=serials, received=received.append)
    return received


def test_serials_are_appended_to_the_log_as_the_ledger_prints_them(identity: Any, tmp_path: Path) -> None:
    client, _ = identity("good")
    log = tmp_path / "log"
    log.write_text("before\n")

    received = fetched(client, 3, log)

    expected = [f"{each.leaf.serial_number:032x}" for each in received]
    assert log.read_text() == "\n".join(["before", *expected, ""])


def test_each_serial_is_on_the_disk_before_the_next_is_asked_for(
    identity: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, synced = tmp_path / "log", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(log.read_text().count("\n")))
    client, _ = identity("good")

    fetched(client, 3, log)

    assert synced == [1, 2, 3]


def test_serial_is_logged_even_when_the_certificate_is_not_acceptable(
    identity: Any, chain: Chain, tmp_path: Path
) -> None:
    client, _ = identity(certify_response(chain, linkerd_leaf()))

    with pytest.raises(NotAcceptable, match="another key than ours"):
        fetched(client, 1, tmp_path / "log")

    assert len((tmp_path / "log").read_text()) == 33


def test_passing_trouble_is_tried_again(identity: Any) -> None:
    client, _ = identity(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, "good")

    assert len(fetched(client, 1)) == 1


def test_refusal_is_not_tried_again(identity: Any) -> None:
    client, _ = identity(grpc.StatusCode.PERMISSION_DENIED, "good")

    with pytest.raises(MeshcaError, match="PERMISSION_DENIED: as the test says"):
        fetched(client, 1)


def test_lost_server_is_given_up_within_five_seconds(identity: Any) -> None:
    client, _ = identity("good", grpc.StatusCode.UNAVAILABLE)
    started = time.monotonic()

    with pytest.raises(Unavailable, match="no certificate within 4 s"):
        fetched(client, 2)

    assert time.monotonic() - started < 5


def test_server_that_never_answers_is_given_up_within_five_seconds(identity: Any) -> None:
    client, _ = identity(lambda request: time.sleep(6))
    started = time.monotonic()

    with pytest.raises(Unavailable, match="no answer within 4 s"):
        fetched(client, 1)

    assert time.monotonic() - started < 5


def test_server_that_only_accepts_connections_is_given_up_within_five_seconds(chain: Chain) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = Target(
            address=f"127.0.0.1:{deaf.getsockname()[1]}", server_name="", roots_pem=pem(chain.root).encode()
        )
        client = LinkerdClient(target, name=NAME, key=new_key(), clock=lambda: NOW)
        started = time.monotonic()

        with pytest.raises(Unavailable):
            fetched(client, 1)

        assert time.monotonic() - started < 5


def test_files_are_what_openssl_verifies(chain: Chain, tmp_path: Path) -> None:
    leaf = linkerd_leaf()

    write_files(tmp_path / "out", chain.deliver(leaf), leaf.key)

    out = tmp_path / "out"
    epoch = str(int(NOW.timestamp()))
    files = ["-CAfile", str(out / "roots.pem"), "-untrusted", str(out / "chain.pem"), str(out / "leaf.pem")]
    subprocess.run(["openssl", "verify", "-attime", epoch, *files], check=True, capture_output=True)
    public = ["openssl", "pkey", "-in", str(out / "key.pem"), "-pubout"]
    from_key = subprocess.run(public, check=True, capture_output=True).stdout
    from_leaf = ["openssl", "x509", "-in", str(out / "leaf.pem"), "-noout", "-pubkey"]
    assert from_key == subprocess.run(from_leaf, check=True, capture_output=True).stdout
    assert (out / "key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "message"), [("", "is empty"), ("\u00fc", "holds no token"), (None, "cannot be read")]
)
def test_token_file_without_a_token_is_told(content: str | None, message: str, chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text(pem(chain.root))
    if content is not None:
        (tmp_path / "token").write_text(content)
    words = "fetch --as linkerd --address 127.0.0.1:1 --service-account shop/cart"
    files = f"--roots {tmp_path}/roots.pem --token-file {tmp_path}/token --out {tmp_path}/out"

    done = subprocess.run(
        [sys.executable, "-m", "meshca", *words.split(), *files.split()], check=False, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert message in done.stderr
