"""Calls to a cluster's API server: bounded in time, in size and in number, and off the event loop.

The ``kubernetes`` package knows kubeconfigs, service account tokens and TLS; it is loaded when a client
is made, since a process that asks no API server should not pay for it. Its own retries are off: what is
tried again, and until when, is decided here.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final

from meshca.errors import Misconfigured, Unavailable, shown

Json = dict[str, Any]

CONNECTIONS: Final = 16
"""Calls at once; more wait for their turn, within their deadline."""

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer."""

RECONNECT: Final = 10.0
"""Seconds between two fresh starts, in which credentials and CA are read again."""

_LONG_RUN = re.compile(r"[A-Za-z0-9_.+/=-]{48,}")
"""What a token, or a piece of one, looks like."""


@dataclass(frozen=True, slots=True)
class _Try:
    """What one attempt came to: an answer, or a failure after which it may be worth to try again."""

    answer: Json | None = None
    failure: str = ""
    again: bool = False
    """The connection was closed before an answer came: an idle one may have been, just when we used it."""
    fresh: bool = False
    """Credentials or CA were not accepted: they may have been replaced since they were read."""


class ApiServerClient:
    """The API server of one cluster. Its threads are its own; ``close`` ends them."""

    def __init__(self, kubeconfig: Path | None, *, connections: int = CONNECTIONS) -> None:
        """``kubeconfig``: its current context; None is the service account of our own pod, whose token is read
        again as it rotates. The operator's own ``~/.kube/config`` is never looked at.

        Raises Misconfigured when the credentials cannot be read. Nothing is called yet, so that an API server
        that is away does not keep us from starting.
        """
        self._kubeconfig = kubeconfig
        self._connections = connections
        self._lock = Lock()
        self._api = connect(kubeconfig, connections=connections)
        self._reconnected_at = float("-inf")
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="kube")

    def close(self) -> None:
        """Close the connections and end the threads, without waiting for a call that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._api.close()

    async def post(self, path: str, body: Json, *, timeout: timedelta, needs: str) -> Json:
        """POST a question that changes nothing, and return its JSON answer.

        ``needs`` is the permission that it takes, for the remedy. Raises Unavailable for everything but a good
        answer, at the latest after ``timeout``, whatever the server does.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                outcome = await loop.run_in_executor(self._threads, self._insist, path, body, needs, deadline)
        except TimeoutError:
            raise Unavailable(f"the API server did not answer within {timeout.total_seconds():g} s") from None
        if outcome.answer is None:
            raise Unavailable(outcome.failure)
        return outcome.answer

    def _insist(self, path: str, body: Json, needs: str, deadline: float) -> _Try:
        """Ask, and once more where that may help; in a thread."""
        api = self._api
        outcome = _ask(api, path, body, needs, deadline)
        if outcome.fresh and self._reconnected(api):
            outcome = _ask(self._api, path, body, needs, deadline)
        elif outcome.again:
            outcome = _ask(api, path, body, needs, deadline)
        return outcome

    def _reconnected(self, seen: Any) -> bool:
        """Whether there is a client that was made after ``seen``; makes one unless the last is too young."""
        with self._lock:
            if self._api is not seen:
                return True
            if time.monotonic() - self._reconnected_at < RECONNECT:
                return False
            self._reconnected_at = time.monotonic()
            try:
                self._api = connect(self._kubeconfig, connections=self._connections)
            except Misconfigured:
                return False
            seen.close()
            return True


def connect(kubeconfig: Path | None, *, connections: int) -> Any:
    """An ``ApiClient`` of the ``kubernetes`` package. Raises Misconfigured.

    A server that is not verified, or reached in the clear, is refused: it is shown the tokens of all our callers.
    """
    from kubernetes import client, config

    source = f"kubeconfig {kubeconfig}" if kubeconfig else "our pod's service account"
    # No proxy but that of the kubeconfig: the environment does not configure us (DESIGN §10).
    settings = client.Configuration(proxy="", no_proxy="", retries=False, connection_pool_maxsize=connections)
    try:
        if kubeconfig is None:
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call] # the package is typed in parts
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call] # the package is typed in parts
                str(kubeconfig), client_configuration=settings, persist_config=False
            )
    except OSError as error:
        raise Misconfigured(f"{source} cannot be read: {error.strerror}") from None
    except config.ConfigException as error:
        raise Misconfigured(f"{source} gives no access to an API server: {shown(error)}") from None
    except Exception as error:
        # A YAML error, for one, quotes the lines around it, and a token may stand there.
        raise Misconfigured(f"{source} cannot be read: it is malformed ({type(error).__name__})") from None
    if not settings.host.startswith("https://"):
        raise Misconfigured(f"{source}: the API server must be reached by https, since callers' tokens go there")
    if not settings.verify_ssl:
        raise Misconfigured(f"{source} has insecure-skip-tls-verify: give its CA certificate instead")
    api = client.ApiClient(settings)
    api.user_agent = "meshca"
    return api


def _ask(api: Any, path: str, body: Json, needs: str, deadline: float) -> _Try:
    """One attempt, in a thread. Nothing of a foreign exception is quoted: it may hold what was sent."""
    from kubernetes.client import ApiException
    from kubernetes.config import ConfigException
    from urllib3 import exceptions as http

    left = deadline - time.monotonic()
    if left <= 0:
        return _Try(failure="the API server did not answer in time")
    try:
        request = api.param_serialize(
            "POST",
            path,
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = api.call_api(*request, _request_timeout=left).response
        try:
            content = _read(response, deadline)
        finally:
            response.release_conn()
    except (http.ConnectTimeoutError, http.ReadTimeoutError) as error:
        refused = "cannot be reached" if isinstance(error, http.NewConnectionError) else "did not answer in time"
        return _Try(failure=f"the API server {refused}")
    except http.ProtocolError:
        return _Try(failure="the API server closed the connection before its answer was complete", again=True)
    except (http.SSLError, ApiException) as error:
        return _Try(failure=f"no TLS with the API server: {_tls_reason(error)}", fresh=True)
    except (http.HTTPError, OSError, ConfigException) as error:
        return _Try(failure=f"the API server could not be asked ({type(error).__name__})")
    return _judge(response.status, content, needs)


def _read(response: Any, deadline: float) -> bytes:
    """The body, as long as there is time for it and up to MAX_ANSWER."""
    from urllib3 import exceptions as http

    content = b""
    while piece := response.read1(64 * 1024):
        content += piece
        if len(content) > MAX_ANSWER or time.monotonic() > deadline:
            response.close()
            raise http.ReadTimeoutError(None, "", "too long")  # type: ignore[arg-type] # of no pool in particular
    return content


def _judge(status: int, content: bytes, needs: str) -> _Try:
    """The answer's JSON object, or what a status code tells the operator."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if 200 <= status < 300:
        if isinstance(answer, dict):
            return _Try(answer=answer)
        return _Try(failure=f"the API server's answer ({status}) is no JSON object; is there a proxy in between?")
    said = _said(answer)
    match status:
        case 401:
            remedy = "it does not accept our own credentials; look at the kubeconfig or our pod's service account"
            return _Try(failure=f"the API server says 401: {remedy}{said}", fresh=True)
        case 403:
            return _Try(failure=f"the API server says 403: grant {needs} to our service account{said}")
        case 429:
            return _Try(failure=f"the API server says 429: it is asked too often{said}")
    return _Try(failure=f"the API server says {status}{said}")


def _said(answer: object) -> str:
    """The message of a Kubernetes Status, without anything that could be a piece of a token."""
    message = answer.get("message") if isinstance(answer, dict) and answer.get("kind") == "Status" else None
    return f" ({shown(_LONG_RUN.sub('[...]', message), limit=300)})" if isinstance(message, str) and message else ""


def _tls_reason(error: Exception) -> str:
    """OpenSSL's own word for it, such as ``certificate verify failed: self-signed certificate``."""
    found = re.search(r"\[SSL: [A-Z0-9_]+\] ([^()\n]{1,160})", str(error))
    return shown(found[1].strip()) if found else "the handshake failed"
