"""The server of a development world: started, found again, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from meshca.cli.dev.tokens import make_keys
from meshca.cli.dev.world import World, endpoints
from meshca.cli.files import write
from meshca.cli.init import ROOT_KEY_TYPE, choose_root, found
from meshca.cli.output import notice
from meshca.cli.progress import waiting
from meshca.config import Address, Config
from meshca.config.notation import parse_duration
from meshca.errors import Conflict, MeshcaError
from meshca.operator.init import AlreadyInitialised

READY_WITHIN = 30.0
"""Seconds. It takes about two; a machine that is busy with tests takes longer."""
STOPPED_WITHIN = 20.0
_FREE_WITHIN = 5.0
"""How long the workers of a killed server may hold its ports; they end within a second of losing it."""
_LAST_LINES = 12
_LARGE_LOG = 16 * 1024 * 1024


def up(world: World, settings: Sequence[str]) -> tuple[int, subprocess.Popen[bytes] | None]:
    """Have the world's server run, be ready, and be described in dev.env.

    Returns its process identifier, and the process unless it ran already. Raises Misconfigured for a
    configuration that is not acceptable, Conflict when a port is taken or the server runs with other
    settings, MeshcaError with the end of the log when it did not become ready.
    """
    with world.alone():
        pid = running(world)
        config = world.configure(settings, runs=pid is not None)
        if pid is not None:
            _wait_until_ready(world, config, lambda: running(world) == pid)
            world.write_env(config, pid)
            return pid, None
        make_keys(world)
        _found(config)
        _wait_for_ports(config)
        server = _start(world)
        try:
            _wait_until_ready(world, config, lambda: server.poll() is None)
        except BaseException:
            stop(server.pid)
            server.wait()
            raise
        world.write_env(config, server.pid)
        return server.pid, server


def down(world: World) -> int | None:
    """Stop the server. Returns its process identifier, or None when it did not run."""
    with world.alone():
        pid = running(world)
        if pid is not None:
            stop(pid)
        return pid


def running(world: World) -> int | None:
    """The process of the world's server, found by its command line: a file with a number in it could be stale."""
    words = b"\0".join([b"-m", b"meshca", *map(os.fsencode, _words(world)), b""])
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            ours = folder.name.isdigit() and folder.stat().st_uid == os.getuid()
            if ours and words in (folder / "cmdline").read_bytes():
                return int(folder.name)
    return None


def _words(world: World) -> list[str]:
    return ["serve", "--config", str(world.config)]


def stop(pid: int) -> None:
    """End a server: SIGTERM, so that it drains; SIGKILL when it has not ended after STOPPED_WITHIN."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if not _ended(pid, STOPPED_WITHIN):
            notice(f"process {pid} did not end within {STOPPED_WITHIN:.0f} s: it is killed")
            os.kill(pid, signal.SIGKILL)
            _ended(pid, STOPPED_WITHIN)


def _found(config: Config) -> None:
    root = choose_root(
        config,
        certificate=None,
        key=None,
        passphrase=None,
        key_type=ROOT_KEY_TYPE,
        lifetime=parse_duration("3650d"),
    )
    with contextlib.suppress(AlreadyInitialised):
        found(config, root)


def _start(world: World) -> subprocess.Popen[bytes]:
    if world.log.exists() and world.log.stat().st_size > _LARGE_LOG:
        world.log.replace(world.log.with_suffix(".log.1"))
    with world.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "meshca", *_words(world), "--bundle-file", str(world.roots)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=world.folder,
            start_new_session=True,  # Ctrl-C is for us; the server gets a SIGTERM and drains
        )


def _wait_until_ready(world: World, config: Config, runs: Callable[[], bool]) -> None:
    url = endpoints(config).http
    until = time.monotonic() + READY_WITHIN
    with waiting("starting"):
        while _get(f"{url}/readyz") is None:
            if not runs():
                raise MeshcaError(f"the server has ended; {_end_of(world)}")
            if time.monotonic() >= until:
                raise MeshcaError(f"the server was not ready within {READY_WITHIN:.0f} s; {_end_of(world)}")
            time.sleep(0.05)
    bundle = _get(f"{url}/bundle.pem")
    if bundle is None:
        raise MeshcaError(f"the server is ready and does not tell its trust bundle; {_end_of(world)}")
    write(world.roots, bundle, mode=0o644)


def _get(url: str) -> bytes | None:
    """The body of a 200; None for anything else, and while nobody answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as response:
            body: bytes = response.read()
            return body
    except (OSError, urllib.error.HTTPError):
        return None


def _end_of(world: World) -> str:
    lines = world.log.read_bytes().decode("utf-8", "backslashreplace").splitlines()[-_LAST_LINES:]
    return "\n  ".join([f"the end of {world.log}:", *lines])


def _wait_for_ports(config: Config) -> None:
    """Raises Conflict when somebody else sits on a port of ours."""
    addresses = [Address.parse(each.address) for each in config.listeners] + [Address.parse(config.http.address)]
    until = time.monotonic() + _FREE_WITHIN
    for address in addresses:
        while not address.is_socket and not _is_free(address):
            if time.monotonic() >= until:
                raise Conflict(
                    f"{address} is taken by another process: stop that one, or give this listener another address "
                    "with --set (listeners.0.address=… for the first)"
                )
            time.sleep(0.05)


def _is_free(address: Address) -> bool:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True


def _ended(pid: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            # Empty for a process that has ended and was not waited for yet.
            if not Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
