"""Starting, dying, draining, reporting: what an operator lives through."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from tests.clients.errors import CallFailed, ClientError
from tests.world import COMMAND, CommandFailed, World


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: object, *, seconds: float, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def test_workers_end_within_a_second_of_losing_the_control_process(own_world: World) -> None:
    with own_world as world:
        (worker,) = world.workers
        world.kill()
        wait_until(lambda: not alive(worker), seconds=1, what="the worker's end")
        world.up()


def test_a_second_up_takes_up_where_it_was(own_world: World) -> None:
    with own_world as world:
        before, roots = dict(world.environment), world.roots
        world.linkerd().certify()
        serials = world.serials()
        world.kill()
        world.up()
        after = world.environment
        assert {**before, "MESHCA_DEV_PID": ""} == {**after, "MESHCA_DEV_PID": ""}
        assert world.roots == roots
        assert serials <= world.serials()
        world.linkerd().certify()


def test_a_crashed_worker_is_started_again(own_world: World) -> None:
    with own_world as world:
        (worker,) = world.workers
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: world.workers and world.workers != [worker], seconds=10, what="another worker")
        wait_until(lambda: world.http("/readyz")[0] == 200, seconds=10, what="readiness")
        world.linkerd().certify()
        assert "meshca_worker_restarts_total 1.0" in world.http("/metrics")[1]


def fetch_many(world: World, folder: Path, log: Path) -> subprocess.Popen[str]:
    words = (
        "fetch", "--dev", str(world.folder), "--as", "istio", "--service-account", "emojivoto/web",
        "--out", str(folder), "--count", "100000", "--log", str(log),
    )  # fmt: skip
    return subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_certificate_that_a_client_holds_is_missing_from_the_ledger_after_a_crash(
    own_world: World, tmp_path: Path
) -> None:
    log, received = tmp_path / "log", 0
    with own_world as world:
        for _ in range(5):
            client = fetch_many(world, tmp_path / "out", log)
            wait_until(lambda: log.exists() and log.stat().st_size > 33 * 20, seconds=20, what="certificates")
            world.kill()
            lost = time.monotonic()
            assert client.wait(timeout=10) != 0, "a fetch that lost its server must not succeed"
            assert time.monotonic() - lost < 6
            serials = set(log.read_text().split())
            world.up()
            assert serials <= world.serials()
            received += len(serials)
            log.unlink()
        assert received >= 100
        assert all(finding["fault"] == "" for finding in world.ask("check", "ledger"))


def test_sigterm_answers_what_is_in_flight_and_refuses_nothing_that_was_accepted(own_world: World) -> None:
    with own_world as world:
        token, outcomes, stop = world.token_file("istio-ca"), [], threading.Event()

        def keep_asking() -> None:
            with world.ztunnel(token) as tunnel:
                while not stop.is_set():
                    try:
                        tunnel.fetch()
                        outcomes.append("issued")
                    except ClientError as error:
                        outcomes.append(str(error))
                        return

        asking = threading.Thread(target=keep_asking)
        asking.start()
        wait_until(lambda: len(outcomes) > 5, seconds=10, what="certificates")
        world.run("dev", "down", "--dir", str(world.folder))
        stop.set()
        asking.join(timeout=10)
        assert not [each for each in outcomes if "INTERNAL" in each or "UNKNOWN" in each]
        world.up()
        assert outcomes.count("issued") <= len(world.serials())


def test_an_expired_issuer_takes_readiness_away(own_world: World) -> None:
    own_world.settings = ("leaf.lifetime=2s", "issuer.lifetime=12s", "issuer.rotate_at=50%",
                          "rotation.propagation=1s", "rotation.skew=1s")  # fmt: skip
    with own_world as world:
        # Without its root no new issuer can be signed, so the present one runs out.
        (world.folder / "root.key").rename(world.folder / "root.key.away")
        wait_until(lambda: world.http("/readyz")[0] == 503, seconds=25, what="unready")
        assert "ended" in world.http("/readyz")[1]
        assert world.http("/livez")[0] == 200
        (world.folder / "root.key.away").rename(world.folder / "root.key")
        wait_until(lambda: world.http("/readyz")[0] == 200, seconds=25, what="ready again by itself")
        world.linkerd().certify()


def test_a_ledger_that_cannot_commit_takes_readiness_away_and_refuses_nobody(own_world: World) -> None:
    with own_world as world, contextlib.closing(sqlite3.connect(world.folder / "meshca.db", timeout=10)) as database:
        # Whoever holds the right to write keeps everybody else from committing.
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(CallFailed) as caught:
            world.linkerd().certify()
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: world.http("/readyz")[0] == 503, seconds=15, what="unready")
        assert world.http("/livez")[0] == 200
        database.rollback()
        wait_until(lambda: world.http("/readyz")[0] == 200, seconds=15, what="ready again by itself")
        world.linkerd().certify()


def test_the_serving_certificate_is_renewed_while_a_connection_stays_up(own_world: World) -> None:
    own_world.settings = ("leaf.lifetime=6s", "leaf.jitter=0%")
    with own_world as world, world.ztunnel() as tunnel:
        tunnel.fetch()
        connection = tunnel._connection
        serving = {row["serial"] for row in world.ask("certs", "list", "--service", "serving")}
        wait_until(
            lambda: {row["serial"] for row in world.ask("certs", "list", "--service", "serving")} - serving,
            seconds=10,
            what="another serving certificate",
        )
        time.sleep(4)
        tunnel.fetch()
        assert tunnel._connection is connection
        with world.ztunnel() as other:
            other.fetch()


def test_rotation_replaces_the_issuer_and_retires_the_old_one(own_world: World) -> None:
    own_world.settings = ("leaf.lifetime=3s", "issuer.lifetime=60s", "rotation.skew=1s", "rotation.propagation=1s")
    with own_world as world:
        world.linkerd().certify()
        (first,) = world.ask("issuers", "list")
        world.run("rotate", "--wait", "--because", "a test")
        issuers = {each["id"]: each for each in world.ask("issuers", "list")}
        (second,) = [each for each in issuers.values() if each["state"] == "active"]
        assert second["id"] != first["id"]
        assert second["because"] == "a test"
        world.linkerd().certify().verify()
        wait_until(
            lambda: world.ask("issuers", "show", first["id"])["state"] == "retired", seconds=20, what="retirement"
        )


def test_metrics_are_aggregated_from_the_worker_and_name_what_happened(world: World) -> None:
    world.linkerd().certify()
    issued = 'meshca_requests_total{namespace="emojivoto",result="issued",service="linkerd"}'
    wait_until(lambda: issued in world.http("/metrics")[1], seconds=3, what="the worker's figures")
    _, text = world.http("/metrics")
    assert re.search(r'meshca_expiry_timestamp_seconds\{id="istio",kind="serving"', text)
    assert re.search(r'meshca_stage_seconds_count\{stage="record"\} [1-9]', text)


def test_the_bundle_is_served_as_spiffe_and_as_pem(world: World) -> None:
    status, text = world.http("/bundle")
    assert status == 200
    assert json.loads(text)["keys"][0]["use"] == "x509-svid"
    assert world.http("/bundle.pem")[1] == world.roots


def test_the_bundle_file_is_kept_current_while_serving(own_world: World) -> None:
    with own_world as world:
        path = Path(world.environment["MESHCA_DEV_ROOTS"])
        bundle = path.read_text()
        world.run("dev", "down", "--dir", str(world.folder))
        path.unlink()
        world.up()
        path.unlink()
        # Nobody but the server writes it now, and it does so at start and at each change of the bundle.
        os.kill(world.pid, signal.SIGTERM)
        wait_until(lambda: not alive(world.pid), seconds=20, what="the end")
        command = [*COMMAND, "serve", "--config", str(world.folder / "meshca.yaml"), "--bundle-file", str(path)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            wait_until(path.exists, seconds=20, what="the bundle file")
            server.terminate()
        assert path.read_text() == bundle
        world.up()


def test_a_root_that_is_away_is_said_at_start_and_by_a_rotation_that_waits_for_it(own_world: World) -> None:
    with own_world as world:
        world.run("dev", "down", "--dir", str(world.folder))
        (world.folder / "root.key").rename(world.folder / "root.key.away")
        world.up()
        assert any(line["event"] == "root not usable" for line in world.log())
        with pytest.raises(CommandFailed) as caught:
            world.run("rotate", "--wait", "--timeout", "3")
        assert caught.value.status == 4
        assert "root.key cannot be read" in caught.value.stderr
        assert "root.key cannot be read" in world.ask("rotate", "status")["trouble"]
        world.linkerd().certify()
        (world.folder / "root.key.away").rename(world.folder / "root.key")
        with pytest.raises(CommandFailed) as caught:
            world.run("rotate", "--wait")
        assert caught.value.status == 3  # the one that waits was joined, and is active now
        assert world.ask("rotate", "status")["trouble"] == ""


def test_a_second_server_on_one_store_is_refused(own_world: World) -> None:
    with own_world as world:
        command = [*COMMAND, "serve", "--config", str(world.folder / "meshca.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert "another meshca serves the store" in done.stderr


def test_every_log_line_is_json_and_holds_no_token(world: World) -> None:
    token = world.token_file("identity.l5d.io")
    world.linkerd(token).certify()
    text = (world.folder / "serve.log").read_text()
    assert token.read_text() not in text
    assert token.read_text().split(".")[2] not in text
    lines = list(world.log())
    issued = [line for line in lines if line["event"] == "issued"]
    assert issued
    assert {"request", "identity", "serial", "issuer", "peer"} <= set(issued[-1])


def test_keys_and_stores_can_be_read_by_their_owner_alone(world: World) -> None:
    for name in ("root.key", "kek", "meshca.db", "service-account.key"):
        assert (world.folder / name).stat().st_mode & 0o077 == 0, name
    processes = [world.pid, *world.workers]
    for pid in processes:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"PRIVATE" not in arguments
        assert "Max core file size        0" in Path(f"/proc/{pid}/limits").read_text()


def test_a_server_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        World(tmp_path, environment={"MESHCA_SERVER": f"unix:{tmp_path}/none.sock"}).run("issuers", "list")
    assert caught.value.status != 0
    assert "none.sock" in caught.value.stderr
    assert "Traceback" not in caught.value.stderr


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_issuances_grow_neither_memory_nor_descriptors(own_world: World, tmp_path: Path) -> None:
    def fetch(count: int) -> None:
        own_world.run(
            "fetch", "--dev", str(own_world.folder), "--as", "istio", "--service-account", "emojivoto/web",
            "--out", str(tmp_path), "--count", str(count), timeout=200,
        )  # fmt: skip

    with own_world as world:
        fetch(2000)  # what is allocated once is
        (worker,) = world.workers
        watched = (world.pid, worker)
        before = {pid: (resident(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in watched}
        fetch(10_000)
        for pid, (kilobytes, descriptors) in before.items():
            assert resident(pid) - kilobytes <= 10 * 1024
            assert len(os.listdir(f"/proc/{pid}/fd")) <= descriptors + 2
