from __future__ import annotations

import socket

import pytest

from meshca.config import Address


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:15012", "127.0.0.1:1", "[::1]:65535", "[::]:8080", "localhost:80", "unix:/run/meshca/admin.sock"],
)
def test_an_address_is_read_and_printed_the_same(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_an_address_that_can_be_written_in_two_ways_is_printed_in_one() -> None:
    assert str(Address.parse("[0:0::0:1]:80")) == "[::1]:80"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":80",
            "80",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:080",
            "127.0.0.1:+8",
        ),
        *("::1:80", "[::1]", "[127.0.0.1]:80", "[localhost]:80", "[fe80::1%eth0]:80", "example.org:80", "127.1:80"),
        *("0.0.0.0:80 ", "127.0.0.1:８0", "*:80", "tcp:127.0.0.1:80", "[]:80", "127.0.0.1:80\n"),
        *(
            "unix:",
            "unix:run/x",
            "unix://run/x",
            "unix:///run/x",
            "unix:/run/../x",
            "unix:/run/x/",
            "unix:/a//b",
            "unix:/.",
        ),
        *("unix:@abstract", "unix-abstract:x", "unix:/a\0b", "unix:/" + "x" * 107),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Address.parse(text)


def test_the_longest_path_of_a_socket_can_be_bound_and_a_longer_one_cannot() -> None:
    longest = Address.parse("unix:/" + "x" * 106).path
    with socket.socket(socket.AF_UNIX) as probe:
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            probe.connect(longest + "x")
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            probe.connect(longest)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "localhost:80", "unix:/run/x"])
def test_an_address_that_nobody_else_reaches_is_private(text: str) -> None:
    assert Address.parse(text).is_private


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "128.0.0.1:80"])
def test_an_address_that_others_reach_is_not_private(text: str) -> None:
    assert not Address.parse(text).is_private


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("unix:/a", "unix:/a", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "0.0.0.0:80", False),
    ],
)
def test_two_addresses_collide_when_both_cannot_be_listened_on(one: str, other: str, collide: bool) -> None:
    assert Address.parse(one).collides(Address.parse(other)) is collide
    assert Address.parse(other).collides(Address.parse(one)) is collide
