"""A cluster's public keys, fetched from where it publishes them."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from meshca.errors import Misconfigured, Unavailable
from meshca.tokens.keys import PAUSE, HeldKeys
from meshca.tokens.keyset import MAX_JWKS


def url_keys(
    url: str,
    *,
    ca_file: Path | None,
    period: timedelta,
    timeout: timedelta,
    token_file: Path | None = None,
    pause: timedelta = PAUSE,
) -> HeldKeys:
    """The keys at ``url``, verified with the roots in ``ca_file`` or else the system's.

    The address is the configuration's alone: none that a token or an answer names is ever followed, not even
    a redirect (``ca-practice.md`` §6 case 67). ``token_file`` holds a bearer token to show there, and is read
    each time. A fetch takes at most ``timeout``. Raises Misconfigured for an address that cannot be trusted.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise Misconfigured("the address of the keys needs a host, and neither a user nor a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise Misconfigured("the keys must be fetched by https: who can change them can forge every token")
    # One thread: a fetch that hangs must not be joined by others.
    thread = ThreadPoolExecutor(1, thread_name_prefix="keys")

    async def read() -> bytes:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(thread, _fetch, url, ca_file, token_file, timeout)
        except TimeoutError:
            raise Unavailable(f"no whole answer within {timeout.total_seconds():g} s") from None

    return HeldKeys(read, source=url.partition("?")[0], period=period, pause=pause)


def _fetch(url: str, ca_file: Path | None, token_file: Path | None, timeout: timedelta) -> bytes:
    """GET in a thread. Raises Unavailable, OSError."""
    parts = urlsplit(url)
    deadline = time.monotonic() + timeout.total_seconds()
    headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": "meshca"}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {_token(token_file)}"
    connection = _connection(parts, ca_file, timeout.total_seconds())
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        return _body(connection.getresponse(), deadline)
    except http.client.HTTPException as error:
        raise Unavailable(f"the answer is torn ({type(error).__name__})") from None
    except ssl.SSLError as error:
        raise Unavailable(f"no TLS: {error.reason or 'the handshake failed'}") from None
    finally:
        connection.close()


def _connection(parts: SplitResult, ca_file: Path | None, timeout: float) -> http.client.HTTPConnection:
    """Raises Unavailable when the CA certificates cannot be read: they may be about to be replaced."""
    assert parts.hostname is not None, "judged when the source was made"
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # ssl.SSLError is one
        raise Unavailable(f"the CA certificates in {ca_file} cannot be read: {error.strerror}") from None
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)


def _token(path: Path) -> str:
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise Unavailable(f"the token in {path} cannot be read: {error.strerror}") from None
    if not token.isascii() or len(token.split()) != 1:
        raise Unavailable(f"{path} holds no token")
    return token.decode()


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    if response.status in (401, 403):
        raise Unavailable(
            f"the answer is {response.status}: bind ClusterRole system:service-account-issuer-discovery to who may "
            "read the keys, or give them in a file"
        )
    if response.status != 200:
        raise Unavailable(f"the answer is {response.status}")
    content = b""
    while piece := response.read1(16 * 1024):
        content += piece
        if len(content) > MAX_JWKS:
            raise Unavailable(f"the answer has more than {MAX_JWKS} bytes")
        if time.monotonic() > deadline:
            raise Unavailable("the answer came too slowly")
    if response.length:
        raise Unavailable("the answer is torn")
    return content


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
