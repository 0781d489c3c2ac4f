"""How a look-alike client fails.

::

    ClientError
    ├── TokenUnusable      the token file holds nothing that could be sent; nothing was sent
    ├── NoAnswer           no connection, no TLS, torn, late, or not gRPC
    ├── CallFailed         a gRPC status other than OK
    ├── AnswerRefused      the real client refuses this answer when it receives it
    │   └── AnswerUseless  the real client takes it, and then it or its peers fail with it
    ├── ChainRefused       OpenSSL does not accept a chain
    └── HandshakeFailed    two workloads could not complete a mutual TLS handshake
"""

from __future__ import annotations

import grpc

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ClientError(Exception):
    """The root of the tree."""


class TokenUnusable(ClientError):
    """The token file holds nothing that this client could send; nothing was sent."""


class NoAnswer(ClientError):
    """There was no gRPC answer: no connection, no TLS, torn, late, or malformed."""


class CallFailed(ClientError):
    """The server answered with a gRPC status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message

    @classmethod
    def from_number(cls, number: int, message: str) -> CallFailed:
        """Numbers that gRPC does not know count as UNKNOWN."""
        return cls(_CODES.get(number, grpc.StatusCode.UNKNOWN), message)


class AnswerRefused(ClientError):
    """The real client refuses this answer when it receives it."""


class AnswerUseless(AnswerRefused):
    """The real client takes this answer, and then it or its peers fail with it."""


class ChainRefused(ClientError):
    """OpenSSL does not accept a chain; the text is its own."""


class HandshakeFailed(ClientError):
    """Two workloads could not complete a mutual TLS handshake."""
