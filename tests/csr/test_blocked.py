"""The operator's list of keys that nobody may use."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.csr import BlockedKeys, blocked
from meshca.errors import Misconfigured

hashes = st.binary(min_size=32, max_size=32)
LINE = "ab" * 32

VECTOR = Path(__file__).parent / "vectors" / "pilot-agent-p256.pem"
DOCUMENT = Path(__file__).parents[2] / "docs" / "blocked-keys.md"


def read(text: str | bytes, folder: Path) -> BlockedKeys:
    path = folder / "blocked"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return BlockedKeys.read(path)


@given(st.frozensets(hashes, max_size=50), hashes)
def test_it_has_the_keys_that_were_put_in_and_no_other(inside: frozenset[bytes], other: bytes) -> None:
    keys = BlockedKeys.of(inside)

    assert all(key in keys for key in inside)
    assert (other in keys) == (other in inside)
    assert len(keys) == len(inside)


@pytest.mark.parametrize("stranger", [b"", b"\x00" * 31, b"\xff" * 33, "ab" * 32, None, 1])
def test_what_is_no_hash_is_not_in_it(stranger: object) -> None:
    assert stranger not in BlockedKeys.of([b"\x00" * 32, b"\xff" * 32])


def test_an_empty_list_has_nothing() -> None:
    assert b"\x00" * 32 not in BlockedKeys()


def test_hashes_of_another_size_are_not_taken() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        BlockedKeys.of([b"\x00" * 20])


def test_lines_comments_and_blank_lines_are_read(tmp_path: Path) -> None:
    text = f"# Debian's\n\n{LINE}\n{'cd' * 32}  # a laptop that was stolen\r\n   \n#\n{LINE}"

    keys = read(text, tmp_path)

    assert len(keys) == 2
    assert bytes.fromhex(LINE) in keys
    assert bytes.fromhex("cd" * 32) in keys


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LINE.upper(), "upper case"),
        (LINE[:-1], "too short"),
        (LINE + "ab", "too long"),
        (LINE + " " + LINE, "two in a line"),
        (f"sha256:{LINE}", "a prefix"),
        (":".join(["ab"] * 32), "colons"),
        (f" {LINE}", "indented"),
        ("xy" * 32, "not hexadecimal"),
        ("-----BEGIN PUBLIC KEY-----", "PEM"),
        ("ａｂ" * 32, "full-width letters"),
        (f"{LINE}\0", "a NUL"),
    ],
    ids=lambda value: value if " " in value and len(value) < 30 else "",
)
def test_a_bad_line_is_named_by_its_number(line: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="in line 3: write one SHA-256"):
        read(f"{LINE}\n# {why}\n{line}\n{LINE}\n", tmp_path)


def test_what_stands_in_a_bad_line_is_shown_in_escaped_form(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        read("\x1b[2Jx\n", tmp_path)

    assert str(caught.value).isprintable()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"blocked-list cannot be read: No such file"):
        BlockedKeys.read(tmp_path / "blocked-list")


def test_a_folder_is_not_a_list(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        BlockedKeys.read(tmp_path)


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked, "MAX_FILE", 2 * 65)

    assert len(read(f"{LINE}\n" * 2, tmp_path)) == 1
    with pytest.raises(Misconfigured, match="more than 130 bytes"):
        read(f"{LINE}\n" * 2 + "\n", tmp_path)


def test_the_documented_command_makes_the_line_of_a_key(tmp_path: Path) -> None:
    command = DOCUMENT.read_text().split("```sh\n")[1].split("```")[0].replace("request.pem", str(VECTOR))

    line = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout

    public = subprocess.run(
        ["openssl", "req", "-in", str(VECTOR), "-noout", "-pubkey"], capture_output=True, check=True
    ).stdout
    spki = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True
    ).stdout
    assert hashlib.sha256(spki).digest() in read(line, tmp_path)
