"""The command line against a server that really runs: `dev up`, `fetch`, and what an operator asks afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.command import MESHCA, Dev, meshca, openssl_accepts, serial_of
from tests.operator.company import Pair, authority

pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def temporary_world(*words: str) -> Iterator[Dev]:
    folder = Path(tempfile.mkdtemp(prefix="meshca-e2e-"))
    dev = Dev(folder / "world")
    try:
        dev.up(*words)
        yield dev
    finally:
        dev.down()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    """One world for the tests that change nothing about the server."""
    with temporary_world() as world:
        yield world


@pytest.fixture
def own() -> Iterator[Dev]:
    """A world for one test alone, whose leaves live shortly."""
    with temporary_world("--set", "leaf.lifetime=60s") as world:
        yield world


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone_within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while condition() and time.monotonic() < until:
        time.sleep(0.05)
    return not condition()


KEYS = [
    ("linkerd", "ec-p256"),
    ("linkerd", "ec-p384"),
    ("istio", "ec-p256"),
    ("istio", "ec-p384"),
    ("istio", "rsa-2048"),
]


@pytest.mark.parametrize(("mesh", "key"), KEYS)
def test_fetched_chain_is_good_for_openssl_and_stands_in_the_ledger(
    dev: Dev, mesh: str, key: str, tmp_path: Path
) -> None:
    dev.fetch(mesh, tmp_path, "--key", key)

    rows = {row["serial"]: row for row in dev.json("certs", "list", "--limit", "0")}
    assert openssl_accepts(tmp_path)
    assert rows[serial_of(tmp_path)]["identity"] == "spiffe://cluster.local/ns/shop/sa/cart"
    assert rows[serial_of(tmp_path)]["service"] == mesh


@pytest.mark.parametrize("mesh", ["linkerd", "istio"])
def test_count_keeps_its_key_and_logs_every_serial(dev: Dev, mesh: str, tmp_path: Path) -> None:
    done = dev.fetch(mesh, tmp_path / "out", "--count", "5", "--log", str(tmp_path / "log"), "-o", "json")

    serials = (tmp_path / "log").read_text().split()
    rows = [row for row in dev.json("certs", "list", "--limit", "0") if row["serial"] in serials]
    assert (len(serials), len(rows)) == (5, 5)
    assert len({row["spki_sha256"] for row in rows}) == 1
    assert len({row["peer"] for row in rows}) == 1
    assert json.loads(done.stdout)["serial"] == serials[-1] == serial_of(tmp_path / "out")


def test_environment_names_the_process_that_serves(dev: Dev) -> None:
    command = Path(f"/proc/{dev.pid}/cmdline").read_bytes().split(b"\0")

    assert command[1:4] == [b"-m", b"meshca", b"serve"]


def test_bundle_is_the_same_wherever_it_is_read(dev: Dev) -> None:
    with urllib.request.urlopen(f"{dev.environment['MESHCA_DEV_HTTP']}/bundle.pem") as answer:
        over_http = answer.read().decode()

    exported = dev.run("roots", "export").stdout
    assert exported == over_http == Path(dev.environment["MESHCA_DEV_ROOTS"]).read_text()
    assert x509.load_pem_x509_certificates(exported.encode())


def test_second_up_says_that_it_runs(dev: Dev) -> None:
    before = dev.environment

    done = dev.up()

    assert "it runs already" in done.stdout
    assert dev.environment == before


def test_fetch_without_a_world_needs_address_name_roots_and_token(dev: Dev, tmp_path: Path) -> None:
    found = dev.environment
    (tmp_path / "token").write_text(dev.token("istio-ca") + "\n")
    words = ["fetch", "--as", "istio", "--address", found["MESHCA_DEV_ISTIO"], "--service-account", "shop/cart"]
    words += ["--server-name", found["MESHCA_DEV_ISTIO_NAME"], "--roots", found["MESHCA_DEV_ROOTS"]]

    meshca(*words, "--token-file", str(tmp_path / "token"), "--out", str(tmp_path / "out"))

    assert openssl_accepts(tmp_path / "out")


def test_server_with_another_name_is_not_trusted(dev: Dev, tmp_path: Path) -> None:
    found = dev.environment
    (tmp_path / "token").write_text(dev.token("istio-ca"))
    words = ["fetch", "--as", "istio", "--address", found["MESHCA_DEV_ISTIO"], "--service-account", "shop/cart"]
    words += ["--server-name", "istiod.elsewhere.svc", "--roots", found["MESHCA_DEV_ROOTS"]]

    done = meshca(*words, "--token-file", str(tmp_path / "token"), "--out", str(tmp_path / "out"), check=False)

    assert done.returncode == 1
    assert "look at --server-name and --roots" in done.stderr
    assert not (tmp_path / "out" / "leaf.pem").exists()


@pytest.mark.parametrize(
    ("mesh", "audience", "account"),
    [("istio", "identity.l5d.io", "cart"), ("linkerd", "istio-ca", "cart"), ("istio", "istio-ca", "bill")],
    ids=["Linkerd's audience at Istio's door", "Istio's audience at Linkerd's door", "another account's token"],
)
def test_refused_fetch_leaves_no_row_and_no_files(
    dev: Dev, mesh: str, audience: str, account: str, tmp_path: Path
) -> None:
    before = dev.json("certs", "list", "--limit", "0")
    found = dev.environment
    (tmp_path / "token").write_text(dev.token(audience, account=account))
    words = ["fetch", "--as", mesh, "--address", found[f"MESHCA_DEV_{mesh.upper()}"], "--service-account", "shop/cart"]
    words += ["--server-name", found["MESHCA_DEV_ISTIO_NAME"]] if mesh == "istio" else []
    words += ["--roots", found["MESHCA_DEV_ROOTS"], "--token-file", str(tmp_path / "token")]

    done = meshca(*words, "--out", str(tmp_path / "out"), "--log", str(tmp_path / "log"), check=False)

    assert (done.returncode, (tmp_path / "log").read_text()) == (1, "")
    assert not (tmp_path / "out" / "leaf.pem").exists()
    assert dev.json("certs", "list", "--limit", "0") == before


@pytest.mark.parametrize(("service", "code", "said"), [("istio", 0, "accepted: spiffe://"), ("linkerd", 1, "refused")])
def test_token_is_explained_by_the_rules_of_the_service(
    dev: Dev, service: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(dev.token("istio-ca"))

    done = dev.run("explain", "token", str(tmp_path / "token"), "--service", service, check=False)

    assert done.returncode == code
    assert said in done.stdout


def test_csr_is_explained(dev: Dev, tmp_path: Path) -> None:
    csr, name = tmp_path / "csr.pem", "URI:spiffe://cluster.local/ns/shop/sa/cart"
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(csr), "-addext", f"subjectAltName=critical,{name}"]
    subprocess.run(command, check=True, capture_output=True)

    own_name = dev.run("explain", "csr", str(csr), "--service-account", "shop/cart", check=False)
    others = dev.run("explain", "csr", str(csr), "--service-account", "shop/bill", check=False)

    assert (own_name.returncode, others.returncode) == (0, 1)


def test_ledger_is_as_it_was_written(dev: Dev, tmp_path: Path) -> None:
    dev.fetch("linkerd", tmp_path)

    assert all(finding["fault"] == "" for finding in dev.json("check", "ledger"))


def test_filters_narrow_the_list(dev: Dev, tmp_path: Path) -> None:
    dev.fetch("linkerd", tmp_path / "l")
    dev.fetch("istio", tmp_path / "i")

    rows = dev.json("certs", "list", "--service", "linkerd", "--limit", "0")
    assert {row["service"] for row in rows} == {"linkerd"}
    assert dev.json("certs", "list", "--namespace", "nowhere") == []
    assert len(dev.json("certs", "list", "--limit", "1")) == 1


def test_rotation_gives_a_new_issuer_and_the_old_leaf_stays_good(own: Dev, tmp_path: Path) -> None:
    own.fetch("istio", tmp_path / "before")
    (old,) = own.json("issuers", "list")

    rotation = own.json("rotate", "--wait", "--because", "a test", "--timeout", "60")
    own.fetch("istio", tmp_path / "after")

    states = {issuer["id"]: issuer["state"] for issuer in own.json("issuers", "list")}
    assert states == {old["id"]: "retiring", rotation["issuer"]: "active"}
    assert own.json("certs", "show", serial_of(tmp_path / "after"))["issuer"] == rotation["issuer"]
    assert openssl_accepts(tmp_path / "before")
    assert openssl_accepts(tmp_path / "after")


def test_killed_server_is_taken_up_on_the_same_ports(own: Dev, tmp_path: Path) -> None:
    own.fetch("linkerd", tmp_path / "before")
    before = own.environment

    os.kill(own.pid, signal.SIGKILL)
    own.up()

    after = own.environment
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"MESHCA_DEV_PID"}
    assert own.json("certs", "show", serial_of(tmp_path / "before"))["service"] == "linkerd"
    assert own.fetch("linkerd", tmp_path / "after").returncode == 0


def test_workers_of_a_killed_server_end_within_a_second(own: Dev) -> None:
    workers = children(own.pid)

    os.kill(own.pid, signal.SIGKILL)

    assert workers
    # A little more than the second, since this machine runs other tests.
    assert gone_within(1.5, lambda: any(map(runs, workers)))


def test_fetch_gives_up_within_five_seconds_of_losing_the_server(own: Dev, tmp_path: Path) -> None:
    words = ["fetch", "--dev", str(own.folder), "--as", "istio", "--service-account", "shop/cart"]
    words += ["--out", str(tmp_path), "--count", "1000000", "--log", str(tmp_path / "log")]
    client = subprocess.Popen([*MESHCA, *words], stderr=subprocess.PIPE, text=True)
    assert gone_within(30, lambda: not (tmp_path / "log").exists() or not (tmp_path / "log").read_text())

    os.kill(own.pid, signal.SIGKILL)
    killed = time.monotonic()
    _, error = client.communicate(timeout=30)

    # The workers may answer for a second more.
    assert time.monotonic() - killed < 6.5
    assert client.returncode == 1
    assert error.startswith("error: ")


def test_setting_is_in_effect_and_stays_after_a_restart(own: Dev, tmp_path: Path) -> None:
    own.down()
    own.up()
    own.fetch("linkerd", tmp_path)

    row = own.json("certs", "show", serial_of(tmp_path))
    begin, end = (datetime.fromisoformat(row[each]) for each in ("issued", "not_after"))
    assert end - begin <= timedelta(seconds=60)


def test_down_ends_the_server_and_can_be_said_again(own: Dev) -> None:
    pid = own.pid

    first, second = own.down(), own.down()

    assert not runs(pid)
    assert str(pid) in first.stdout
    assert "did not run" in second.stdout


def test_foreground_shows_the_log_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    dev = Dev(Path(tempfile.mkdtemp(prefix="meshca-e2e-")) / "world")
    up = [*MESHCA, "dev", "up", "--dir", str(dev.folder)]
    shown = subprocess.Popen(up, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert shown.stdout is not None
        assert shown.stdout.readline().startswith("ready: ")
        dev.fetch("linkerd", tmp_path)
        pid = dev.pid

        shown.send_signal(signal.SIGINT)
        rest = shown.communicate(timeout=30)[0]

        assert shown.returncode == 0
        assert serial_of(tmp_path) in rest
        assert not runs(pid)
    finally:
        shown.kill()
        shown.wait()
        dev.down()
        shutil.rmtree(dev.folder.parent)


def test_server_that_cannot_start_is_told_with_the_end_of_its_log(own: Dev) -> None:
    own.down()
    (own.folder / "kek").write_text("not a key\n")

    done = own.up(check=False)

    assert done.returncode == 1
    assert "the server has ended; the end of" in done.stderr
    assert "must hold 32 random bytes" in done.stderr


@pytest.mark.slow
def test_no_serial_that_was_received_is_missing_from_the_ledger(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with temporary_world() as dev:
        for turn in range(20):
            words = ["fetch", "--dev", str(dev.folder), "--as", ("istio", "linkerd")[turn // 2 % 2]]
            words += ["--service-account", "shop/cart", "--out", str(tmp_path / "out")]
            client = subprocess.Popen(
                [*MESHCA, *words, "--count", "1000000", "--log", str(log)], stderr=subprocess.DEVNULL
            )
            _wait_for_lines(log, len(log.read_text().split()) + 10 if log.exists() else 10)
            time.sleep(0.01 * turn)  # so that the kill hits another moment each time

            # Every other time the workers, which write the ledger, are killed with the process that holds them.
            for pid in [dev.pid, *(children(dev.pid) if turn % 2 else [])]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0 if turn % 2 else 1)
            client.terminate()
            client.wait(timeout=30)
            dev.up()

        ledger = {row["serial"] for row in dev.json("certs", "list", "--limit", "0")}
        assert all(finding["fault"] == "" for finding in dev.json("check", "ledger"))
    received = log.read_text().split()
    assert len(received) >= 200
    assert set(received) - ledger == set()


def _wait_for_lines(log: Path, count: int) -> None:
    assert gone_within(30, lambda: not log.exists() or len(log.read_text().split()) < count)


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """A configuration whose state is in a folder that is not there yet."""
    state = tmp_path / "state"
    text = f"""\
        trust_domain: example.org
        store: {{url: "sqlite:///{state}/meshca.db"}}
        root: {{certificate: {state}/root.crt, key: {state}/root.key}}
        issuer: {{keys: {{kek: {{file: {state}/kek}}}}}}
        """
    (tmp_path / "meshca.yaml").write_text(text)
    return tmp_path / "meshca.yaml"


def test_init_makes_root_key_encryption_key_and_store(deployment: Path) -> None:
    done = meshca("init", "--config", str(deployment), "-o", "json")

    summary = json.loads(done.stdout)
    assert (summary["created"], summary["trust_domain"], summary["epoch"]) == (True, "example.org", 1)
    state = deployment.parent / "state"
    assert {"root.crt", "root.key", "kek", "meshca.db"} <= {path.name for path in state.iterdir()}


def test_second_init_fails_unless_it_is_only_needed(deployment: Path) -> None:
    first = json.loads(meshca("init", "--config", str(deployment), "-o", "json").stdout)

    again = meshca("init", "--config", str(deployment), check=False)
    if_needed = json.loads(meshca("init", "--config", str(deployment), "--if-needed", "-o", "json").stdout)

    assert again.returncode == 1
    assert "error: already initialised" in again.stderr
    assert if_needed == {**first, "created": False}


def test_init_takes_the_company_root_and_says_what_to_configure(deployment: Path, tmp_path: Path) -> None:
    root = authority(tmp_path, "corp", key="rsa2048")

    done = meshca(
        "init", "--config", str(deployment), "--root-cert", str(root.certificate), "--root-key", str(root.key)
    )

    assert "CN=corp,O=Example Corp" in done.stdout
    assert f"set root.certificate to {root.certificate}" in done.stderr


def test_failed_init_leaves_nothing(deployment: Path, tmp_path: Path) -> None:
    root = authority(tmp_path, "corp")
    wrong = Pair(root.certificate, authority(tmp_path, "other").key)

    done = meshca(
        *("init", "--config", str(deployment), "--root-cert", str(wrong.certificate), "--root-key", str(wrong.key)),
        check=False,
    )

    assert done.returncode == 1
    assert "belongs to none of its certificates" in done.stderr
    assert list((deployment.parent / "state").iterdir()) == []
