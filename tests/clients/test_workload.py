"""Two workloads shake hands when they should, whatever mesh they are of, and not when they should not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.clients.conftest import SERVER_NAME
from tests.clients.errors import ChainRefused, HandshakeFailed
from tests.clients.linkerd_proxy import LinkerdProxy
from tests.clients.pilot_agent import PilotAgent
from tests.clients.reference_ca import LeafPlan, ReferenceCa, new_key, pem
from tests.clients.reference_front import TlsFront
from tests.clients.reference_server import ReferenceServer
from tests.clients.workload import Workload, handshake, openssl_verify, pem_blocks
from tests.clients.ztunnel import Ztunnel

_WEB = "spiffe://cluster.local/ns/shop/sa/web"
_HOUR = timedelta(hours=1)


def _made(ca: ReferenceCa, *names: str, **changes: object) -> Workload:
    """A workload with these names, straight from the CA."""
    key, now = new_key(), datetime.now(UTC)
    sans = [x509.UniformResourceIdentifier(each) if "://" in each else x509.DNSName(each) for each in names]
    plan = LeafPlan(key.public_key(), sans, now - timedelta(minutes=1), now + _HOUR)
    return Workload(
        identity=names[0],
        leaf=pem(ca.leaf(replace(plan, **changes))),  # type: ignore[arg-type]
        chain="".join(map(pem, ca.chain)),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        roots=ca.anchors,
    )


@pytest.fixture
def fetched(server: ReferenceServer, front: TlsFront, ca: ReferenceCa, token_file: Path) -> dict[str, Workload]:
    """One workload of each kind, fetched as that kind fetches."""
    common: dict[str, Any] = {
        "anchors": ca.anchors,
        "token_file": token_file,
        "namespace": "shop",
        "service_account": "web",
    }
    proxy = LinkerdProxy(server.address, **common)
    with (
        PilotAgent(front.address, server_name=SERVER_NAME, **common) as agent,
        Ztunnel(front.address, server_name=SERVER_NAME, **common) as ztunnel,
    ):
        return {"linkerd": proxy.certify(), "istio": agent.fetch(), "ztunnel": ztunnel.fetch()}


def test_every_kind_shakes_hands_with_every_kind(fetched: dict[str, Workload]) -> None:
    for client, server in product(fetched.values(), repeat=2):
        seen = handshake(client, server)

        assert (seen.client_saw, seen.server_saw) == (server.names, client.names)
        assert seen.version == "TLSv1.3"
        assert seen.cipher.startswith("TLS_")


def _bad_key(good: Workload, other: Workload) -> Workload:
    return replace(good, key=other.key)


def _bare(good: Workload, _: Workload) -> Workload:
    return replace(good, chain="")


def _claims_another_name(good: Workload, _: Workload) -> Workload:
    return replace(good, identity="spiffe://cluster.local/ns/shop/sa/admin")


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_bad_key, "cannot use its own credentials.*KEY_VALUES_MISMATCH"),
        (_bare, "unable to get local issuer certificate"),
        (_claims_another_name, "takes its peer, .*admin, for .*web"),
    ],
)
def test_a_workload_with_bad_credentials_is_turned_away_on_either_side(
    ca: ReferenceCa, side: str, spoil: Callable[[Workload, Workload], Workload], reason: str
) -> None:
    good = _made(ca, _WEB)
    bad = spoil(good, _made(ca, _WEB))
    pair = (bad, good) if side == "client" else (good, bad)

    with pytest.raises(HandshakeFailed, match=reason):
        handshake(*pair)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"begins": datetime.now(UTC) - 2 * _HOUR, "ends": datetime.now(UTC) - _HOUR}, "certificate has expired"),
        ({"begins": datetime.now(UTC) + _HOUR, "ends": datetime.now(UTC) + 2 * _HOUR}, "not yet valid"),
        ({"usages": [ExtendedKeyUsageOID.CODE_SIGNING]}, "unsu.* certificate purpose"),
        ({"foreign": True}, "signature failure"),
    ],
    ids=["expired", "not yet valid", "purpose", "foreign"],
)
def test_a_bad_leaf_is_turned_away_on_either_side(
    ca: ReferenceCa, side: str, changes: dict[str, object], reason: str
) -> None:
    good, bad = _made(ca, _WEB), _made(ca, _WEB, **changes)
    pair, judge = ((bad, good), "server") if side == "client" else ((good, bad), "client")

    with pytest.raises(HandshakeFailed, match=rf"(?i)the {judge} .* said no.*{reason}"):
        handshake(*pair)


@pytest.mark.parametrize("truster", ["client", "server"])
def test_a_side_that_lacks_the_root_of_the_other_says_no(ca: ReferenceCa, truster: str) -> None:
    one, other = _made(ca, _WEB), replace(_made(ca, _WEB), roots=ReferenceCa().anchors)
    pair = (other, one) if truster == "client" else (one, other)

    with pytest.raises(HandshakeFailed, match=f"the {truster} .*CERTIFICATE_VERIFY_FAILED"):
        handshake(*pair)


def test_half_of_split_roots_breaks_the_handshake(ca: ReferenceCa) -> None:
    whole = _made(ca, _WEB)
    last_string_only = replace(whole, roots=pem_blocks(ca.anchors)[-1])

    with pytest.raises(HandshakeFailed, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(whole, last_string_only)


@pytest.mark.parametrize(
    "names",
    [
        ("web.shop.serviceaccount.identity.linkerd.cluster.local",),
        ("spiffe://elsewhere/ns/shop/sa/web",),
        (_WEB, "spiffe://cluster.local/ns/shop/sa/admin"),
    ],
    ids=["no URI", "another trust domain", "two URIs"],
)
def test_a_spiffe_workload_wants_one_uri_of_its_own_trust_domain(ca: ReferenceCa, names: tuple[str, ...]) -> None:
    with pytest.raises(HandshakeFailed, match=r"the client of trust domain cluster\.local has a peer of"):
        handshake(_made(ca, _WEB), _made(ca, *names))


def test_openssl_judges_at_the_time_that_it_is_told(ca: ReferenceCa) -> None:
    workload = _made(ca, _WEB)

    workload.verify(at=datetime.now(UTC) + timedelta(minutes=59))
    with pytest.raises(ChainRefused, match="certificate has expired"):
        workload.verify(at=datetime.now(UTC) + timedelta(minutes=61))


def test_openssl_is_strict_unless_told_otherwise(ca: ReferenceCa) -> None:
    workload = _made(ca, _WEB, key_identifier=False)

    workload.verify(strict=False)
    with pytest.raises(ChainRefused, match=r"(?i)missing authority key identifier"):
        workload.verify()


def test_openssl_trusts_no_root_that_came_with_the_chain(ca: ReferenceCa) -> None:
    workload = _made(ca, _WEB)

    with pytest.raises(ChainRefused, match="self-signed certificate in certificate chain"):
        openssl_verify(workload.leaf, workload.chain + pem(ca.root), ReferenceCa().anchors)


def test_openssl_trusts_no_root_of_the_machine(
    ca: ReferenceCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = _made(ca, _WEB)
    (tmp_path / "root.pem").write_text(pem(ca.root))
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, timeout=30)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))

    with pytest.raises(ChainRefused, match="unable to get"):
        openssl_verify(workload.leaf, workload.chain, ReferenceCa("elsewhere").anchors)
