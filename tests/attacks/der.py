"""A writer of DER, and of what is nearly DER, that shares nothing with the code under test (X.690)."""

from __future__ import annotations


def tlv(tag: int, *contents: bytes) -> bytes:
    """Any element, with the shortest length."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*contents: bytes) -> bytes:
    return tlv(0x30, *contents)


def set_of(*contents: bytes, tag: int = 0x31) -> bytes:
    """Members in the order that DER demands, so that a second one is read and not refused for its place."""
    return tlv(tag, *sorted(contents))


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def octets(content: bytes) -> bytes:
    return tlv(0x04, content)


def bits(content: bytes, *, unused: int = 0) -> bytes:
    return tlv(0x03, bytes([unused]), content)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, *(_base128(arc) for arc in (40 * first + second, *rest)))


def utf8(text: bytes) -> bytes:
    return tlv(0x0C, text)


def printable(text: bytes) -> bytes:
    return tlv(0x13, text)


NULL = tlv(0x05)
TRUE = tlv(0x01, b"\xff")


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | arc & 0x7F)
    return bytes(reversed(digits))
