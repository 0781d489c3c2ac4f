"""The look-alikes of both meshes' clients against the real server, and against each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cryptography import x509

from tests.clients.workload import Workload, handshake
from tests.world import World


def get(world: World, kind: str) -> Workload:
    match kind:
        case "linkerd":
            return world.linkerd().certify()
        case "ztunnel":
            with world.ztunnel() as tunnel:
                return tunnel.fetch()
        case _:
            with world.pilot_agent(key=kind) as agent:
                return agent.fetch()


KINDS = ("linkerd", "ztunnel", "rsa-2048", "ec-p256", "ec-p384")


@pytest.fixture(scope="module")
def workloads(world: World) -> dict[str, Workload]:
    return {kind: get(world, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_takes_its_certificate_and_it_stands_in_the_ledger(
    world: World, workloads: dict[str, Workload], kind: str
) -> None:
    workload = workloads[kind]
    workload.verify()
    serial = f"{workload.certificate.serial_number:032x}"
    row = world.ask("certs", "show", serial)
    assert row["namespace"] == "emojivoto"
    assert row["service_account"] == "web"
    assert row["identity"] == "spiffe://cluster.local/ns/emojivoto/sa/web"
    assert row["service"] == ("linkerd" if kind == "linkerd" else "istio")
    assert row["proof"] == "jwks"
    assert row["peer"].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize(("client", "server"), list(itertools.product(KINDS, KINDS)))
def test_any_two_workloads_shake_hands(workloads: dict[str, Workload], client: str, server: str) -> None:
    seen = handshake(workloads[client], workloads[server])
    assert seen.version == "TLSv1.3"
    assert "spiffe://cluster.local/ns/emojivoto/sa/web" in seen.client_saw


def test_a_renewal_uses_the_same_key_and_gets_another_serial(world: World) -> None:
    proxy = world.linkerd()
    first, second = proxy.certify(), proxy.certify()
    assert first.certificate.public_key() == second.certificate.public_key()
    assert first.certificate.serial_number != second.certificate.serial_number


def test_linkerds_dns_name_comes_first_and_the_subject_of_the_csr_is_not_copied(
    workloads: dict[str, Workload],
) -> None:
    leaf = workloads["linkerd"].certificate
    assert workloads["linkerd"].names == (
        "web.emojivoto.serviceaccount.identity.linkerd.cluster.local",
        "spiffe://cluster.local/ns/emojivoto/sa/web",
    )
    assert leaf.subject == x509.Name([])


@pytest.mark.parametrize("mesh", ["linkerd", "istio"])
@pytest.mark.parametrize("key", ["rsa-2048", "ec-p256", "ec-p384"])
def test_fetch_writes_what_openssl_accepts(world: World, tmp_path: Path, mesh: str, key: str) -> None:
    log = tmp_path / "serials"
    world.run(
        "fetch", "--dev", str(world.folder), "--as", mesh, "--service-account", "emojivoto/web", "--key", key,
        "--out", str(tmp_path), "--count", "3", "--log", str(log),
    )  # fmt: skip
    leaf, chain, roots = (tmp_path / f"{name}.pem" for name in ("leaf", "chain", "roots"))
    Workload(identity="", leaf=leaf.read_text(), chain=chain.read_text(), key="", roots=roots.read_text()).verify()
    serials = log.read_text().split()
    assert len(set(serials)) == 3
    assert set(serials) <= world.serials()
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
