"""The folder of a development world: its configuration, its tokens, and what it tells scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from meshca.cli.app import run
from meshca.cli.dev import process
from meshca.cli.dev.follow import readable
from meshca.cli.dev.tokens import make_keys, mint
from meshca.cli.dev.world import ISSUER, World, endpoints
from meshca.errors import Conflict, Misconfigured
from meshca.names import ServiceAccount
from meshca.tokens.jws import unverified_claims

CART = ServiceAccount("shop", "cart")
HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.configure((), runs=False)
    make_keys(world)
    return world


def claims_of(world: World, token: str, audience: str) -> dict[str, object]:
    """What PyJWT finds in the token when it verifies it with the published keys."""
    keys = jwt.PyJWKSet.from_dict(json.loads(world.jwks.read_text()))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=ISSUER)
    return claims


def test_token_is_verified_by_another_library_with_the_published_keys(world: World) -> None:
    token = mint(world, CART, audience="istio-ca", lifetime=HOUR)

    claims = claims_of(world, token, "istio-ca")

    assert claims["sub"] == "system:serviceaccount:shop:cart"
    assert claims["aud"] == ["istio-ca"]
    assert claims["exp"] - claims["iat"] == 3600  # type: ignore[operator]


def test_token_has_the_shape_of_a_projected_one(world: World) -> None:
    token = mint(world, CART, audience="istio-ca", lifetime=HOUR)

    claims = claims_of(world, token, "istio-ca")

    assert jwt.get_unverified_header(token).keys() == {"alg", "kid"}
    assert claims.keys() == {"aud", "exp", "iat", "iss", "jti", "kubernetes.io", "nbf", "sub"}
    bound = claims["kubernetes.io"]
    assert isinstance(bound, dict)
    assert bound.keys() == {"namespace", "node", "pod", "serviceaccount"}
    assert (bound["namespace"], bound["serviceaccount"]["name"]) == ("shop", "cart")
    assert all(len(bound[each]["uid"]) == 36 for each in ("node", "pod", "serviceaccount"))


def test_same_account_is_always_bound_to_the_same_pod(world: World) -> None:
    first, second, other = (
        unverified_claims(mint(world, account, audience="a", lifetime=HOUR))
        for account in (CART, CART, ServiceAccount("shop", "bill"))
    )

    assert first["kubernetes.io"] == second["kubernetes.io"]
    assert first["jti"] != second["jti"]
    assert first["kubernetes.io"]["pod"]["uid"] != other["kubernetes.io"]["pod"]["uid"]


def test_dev_token_prints_a_token_of_the_asked_lifetime(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"dev token --dir {world.folder} --namespace shop --service-account cart --audience x --lifetime 30s"
    code = run(words.split())

    claims = claims_of(world, capsys.readouterr().out.strip(), "x")
    assert code == 0
    assert claims["exp"] - claims["iat"] == 30  # type: ignore[operator]


def test_key_of_the_token_issuer_is_made_once_and_for_its_owner_alone(world: World) -> None:
    before = world.token_key.read_bytes()

    make_keys(world)

    assert world.token_key.read_bytes() == before
    assert world.token_key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in world.jwks.read_text()


def test_ports_stay_the_same(world: World) -> None:
    first = endpoints(world.load())

    second = endpoints(world.configure((), runs=False))

    assert first == second
    assert len({first.istio, first.linkerd, first.http}) == 3


def test_settings_are_kept_and_added_to(world: World) -> None:
    world.configure(["leaf.lifetime=20s"], runs=False)
    world.configure(["log.level=debug", "listeners.0.unbound=allow"], runs=False)

    config = World(world.folder).load()

    assert config.leaf.lifetime == timedelta(seconds=20)
    assert config.log.level == "debug"
    assert config.listeners[0].unbound == "allow"


@pytest.mark.parametrize("setting", ["leaf.lifetime=soon", "leaf.lifetim=20s", "nonsense", "clusters.7.name=x"])
def test_bad_setting_is_refused_and_the_old_configuration_stays(world: World, setting: str) -> None:
    before = world.config.read_bytes()

    with pytest.raises(Misconfigured):
        world.configure([setting], runs=False)

    assert world.config.read_bytes() == before
    assert not [path.name for path in world.folder.iterdir() if "new" in path.name]


def test_running_server_is_not_given_other_settings(world: World) -> None:
    before = world.config.read_bytes()

    with pytest.raises(Conflict, match="dev down"):
        world.configure(["leaf.lifetime=20s"], runs=True)

    assert world.config.read_bytes() == before


def test_settings_that_change_nothing_are_fine_while_it_runs(world: World) -> None:
    world.configure(["leaf.lifetime=20s"], runs=False)

    config = world.configure(["leaf.lifetime=20s"], runs=True)

    assert config.leaf.lifetime == timedelta(seconds=20)


def test_socket_of_a_deep_folder_is_in_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)

    config = World(deep).configure((), runs=False)

    address = endpoints(config).admin
    assert len(address.removeprefix("unix:")) <= 107
    folder = Path(address.removeprefix("unix:")).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()


def test_socket_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)

    with pytest.raises(Misconfigured, match="not ours alone"):
        World(tmp_path).configure((), runs=False)


def test_shell_reads_dev_env_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "it's a $HOME `dir`"
    folder.mkdir()
    world = World(folder)
    world.write_env(world.configure((), runs=False), 4711)

    script = 'set -eu; . "$1"; env -0'
    done = subprocess.run(["sh", "-c", script, "-", str(world.env)], check=True, capture_output=True)

    said = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert said["MESHCA_DEV_ROOTS"] == f"{folder}/roots.pem"
    assert said["MESHCA_SERVER"] == f"unix:{folder}/run/admin.sock"
    assert said["MESHCA_DEV_PID"] == "4711"
    assert said["MESHCA_DEV_ISTIO_NAME"] == "istiod.istio-system.svc"
    assert said["MESHCA_DEV_HTTP"].startswith("http://127.0.0.1:")
    assert said["MESHCA_DEV_LINKERD"].startswith("127.0.0.1:")


def test_world_without_a_service_is_refused(world: World) -> None:
    config = world.configure(
        ["listeners.1.services=[istio]", "listeners.1.kind=tls", "listeners.1.names=[a]"], runs=False
    )

    with pytest.raises(Misconfigured, match="no listener serves linkerd"):
        endpoints(config)


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--config", "/another/meshca.yaml"],
        ["-m", "meshca", "serve", "--config", "{folder}/meshca.yaml.bak"],
        ["-m", "meshca", "check", "config", "--config", "{folder}/meshca.yaml"],
    ],
    ids=["another world's server", "a longer path", "another command"],
)
def test_process_that_is_not_the_server_is_left_alone(world: World, words: list[str]) -> None:
    words = [word.format(folder=world.folder) for word in words]
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])
    try:
        assert process.running(world) is None
        assert process.down(world) is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_port_of_somebody_else_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(process, "_FREE_WITHIN", 0.2)
    host, _, port = endpoints(world.load()).linkerd.partition(":")
    with socket.create_server((host, int(port))), pytest.raises(Conflict, match=f"{host}:{port} is taken"):
        process.up(world, ())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"time": "2026-05-04T03:02:01.5Z", "level": "info", "event": "issued", "pod": "a", "n": 3}\n',
            "03:02:01 issued pod=a n=3",
        ),
        (
            '{"time": "2026-05-04T03:02:01Z", "level": "warning", "event": "not issued", "reason": "two words"}\n',
            '03:02:01 WARNING not issued reason="two words"',
        ),
        ("Traceback (most recent call last):\n", "Traceback (most recent call last):"),
        ("\x1b[31mred\n", r"\x1b[31mred"),
    ],
)
def test_log_line_is_shown_readable_and_harmless(line: str, shown: str) -> None:
    assert readable(line) == shown


def test_down_of_a_folder_that_is_no_world_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dev", "down", "--dir", str(tmp_path / "nowhere")]) == 0
    assert run(["dev", "down", "--dir", str(tmp_path)]) == 0
    assert os.listdir(tmp_path) == []
