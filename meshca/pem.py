"""One canonical PEM block in, canonical PEM out.

RFC 7468 lets parsers be lenient; a certificate authority has no use for that. What is accepted
is what every one of our clients writes: one block, 64 columns, no headers, nothing before or
after it (``ca-practice.md`` §6 cases 17 and 18).
"""

from __future__ import annotations

import base64
import binascii
import re

_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----\r?\n"
    rb"(?P<body>(?:[A-Za-z0-9+/]{64}\r?\n)*(?=[^\n]{1,65}\n)[A-Za-z0-9+/]+={0,2}\r?\n)"
    rb"-----END (?P=label)-----(?:\r?\n)?"
)


class BadPem(ValueError):
    """The bytes are not the one block that was asked for."""


def decode(text: bytes, *, label: str) -> bytes:
    """The DER inside exactly one canonical block of this label.

    The caller has capped the size. Raises BadPem for a second block, text around the block,
    RFC 1421 headers, another label, lines of another length, or base64 with stray bits.
    """
    match = _BLOCK.fullmatch(text)
    if match is None:
        raise BadPem(f"expected exactly one PEM block '{label}' and nothing around it")
    if match["label"] != label.encode():
        raise BadPem(f"expected a PEM block '{label}', found '{match['label'].decode()}'")
    body = match["body"].replace(b"\r", b"").replace(b"\n", b"")
    try:
        der = base64.b64decode(body, validate=True)
    except binascii.Error:
        raise BadPem("the PEM block is not base64") from None
    if base64.b64encode(der) != body:
        raise BadPem("the PEM block's base64 is not canonical")
    return der


def encode(der: bytes, *, label: str) -> str:
    """One PEM block, as OpenSSL writes it, with a newline at its end."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
