"""Ports and certificates of the servers on loopback."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.servers.loopback import port_of, reserve_port, write_serving_files


def test_a_held_port_refuses_until_its_server_listens_there() -> None:
    with reserve_port() as held:
        address = ("127.0.0.1", port_of(held))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
        with socket.create_server(address), socket.create_connection(address, timeout=5):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


def test_a_held_port_is_given_to_nobody_who_asks_for_any() -> None:
    held = [reserve_port() for _ in range(300)]
    assert len({port_of(one) for one in held}) == len(held)
    for one in held:
        one.close()


def test_openssl_finds_no_fault_with_the_serving_certificate(tmp_path: Path) -> None:
    files = write_serving_files(tmp_path)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "127.0.0.1"]
    subprocess.run([*verify, "-CAfile", files.ca, files.certificate], check=True, stdout=subprocess.DEVNULL)
    assert files.key.stat().st_mode & 0o777 == 0o600
