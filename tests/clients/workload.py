"""What a proxy holds once it is certified, OpenSSL's verdict on it, and the handshake of two of them."""

from __future__ import annotations

import re
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.csr import Key
from tests.clients.errors import ChainRefused, HandshakeFailed

Clock = Callable[[], datetime]
"""Gives the present time with a zone."""

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----", re.DOTALL)
_PURPOSES = ("sslserver", "sslclient")
_ROUNDS = 10
"""Flights of a TLS 1.3 handshake, with room to spare."""


def wall_clock() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Workload:
    """The credentials with which a proxy meets its peers, all of it PEM, as text."""

    identity: str
    """What peers are to take it for: a Linkerd DNS name or a SPIFFE ID."""
    leaf: str
    chain: str
    """What it sends after the leaf, as it came."""
    key: str = field(repr=False)
    roots: str
    """What it trusts, and nothing else."""

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_pem_x509_certificate(self.leaf.encode())

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS and URI SANs of the leaf, in their order."""
        return names(self.certificate)

    def verify(self, *, strict: bool = True, at: datetime | None = None) -> None:
        """See whether the leaf verifies to its own roots. Raises ChainRefused."""
        openssl_verify(self.leaf, self.chain, self.roots, strict=strict, at=at)


def pem_blocks(text: str) -> list[str]:
    """The PEM certificates in a text, in their order; what stands between them is passed over."""
    return [f"{block}\n" for block in _BLOCK.findall(text)]


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS and URI SANs in their order, none when there is no SAN extension. IP and e-mail are no identity."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.value for name in san if isinstance(name, x509.DNSName | x509.UniformResourceIdentifier))


def has_key(certificate: x509.Certificate, key: Key) -> bool:
    """Whether the certificate is for this key."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def openssl_verify(leaf: str, chain: str, roots: str, *, strict: bool = True, at: datetime | None = None) -> None:
    """``openssl verify`` for both purposes of a leaf, on the very text that came over the wire.

    ``at`` is now unless given. Raises ChainRefused with what OpenSSL said.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["openssl", "verify", "-no-CApath", "-no-CAstore"]
        command += ["-x509_strict"] if strict else []
        command += ["-attime", str(int(at.timestamp()))] if at is not None else []
        command += ["-CAfile", _write(folder / "roots.pem", roots)]
        command += ["-untrusted", _write(folder / "chain.pem", chain)] if pem_blocks(chain) else []
        wanted = _write(folder / "leaf.pem", leaf)
        for purpose in _PURPOSES:
            done = subprocess.run(
                [*command, "-purpose", purpose, wanted], capture_output=True, text=True, check=False, timeout=30
            )
            if done.returncode != 0:
                raise ChainRefused(f"as {purpose}: {done.stdout}{done.stderr}".replace(f"{folder}/", "").strip())


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def load_pair(context: ssl.SSLContext, workload: Workload) -> None:
    """Have TLS present the workload's certificate. Raises ssl.SSLError when key and leaf are no pair.

    Python takes these from files only: they lie in a folder of mode 0700 for as long as that takes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context.load_cert_chain(
            _write(folder / "chain.pem", workload.leaf + workload.chain),
            _write(folder / "key.pem", workload.key),
        )


@dataclass(frozen=True, slots=True)
class Handshake:
    """A mutual handshake that took place: what each side saw of the other's names."""

    client_saw: tuple[str, ...]
    server_saw: tuple[str, ...]
    version: str
    cipher: str


def handshake(client: Workload, server: Workload, *, strict: bool = True) -> Handshake:
    """A real TLS 1.3 handshake, each side with a certificate, each verifying to its own roots, now.

    Then a word goes each way, since a TLS 1.3 client is done before the server has judged it. Host names
    are not checked, as in a mesh; identities are: a peer is whom its first SAN names (``linkerd.md`` §1.4),
    and for a SPIFFE workload it needs one URI SAN, of the same trust domain (``istio.md`` §1.4).

    Raises HandshakeFailed with the side that said no, and why.
    """
    ends = (
        _End("client", client, server_side=False, strict=strict),
        _End("server", server, server_side=True, strict=strict),
    )
    _shake(*ends)
    for speaker, listener in (ends, ends[::-1]):
        speaker.tls.write(b"hello")
        _move(*ends)
        if listener.read() != b"hello":
            raise HandshakeFailed(f"the {listener.side} did not hear the {speaker.side}")
    for end, peer in ((ends[0], server), (ends[1], client)):
        end.judge(peer)
    cipher = ends[0].tls.cipher()
    return Handshake(
        client_saw=ends[0].saw(),
        server_saw=ends[1].saw(),
        version=ends[0].tls.version() or "",
        cipher=cipher[0] if cipher else "",
    )


class _End:
    """One side of a connection in memory."""

    def __init__(self, side: str, workload: Workload, *, server_side: bool, strict: bool) -> None:
        self.side = side
        self.workload = workload
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if strict:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cadata=workload.roots)
            load_pair(context, workload)
        except (ssl.SSLError, ValueError) as error:
            raise HandshakeFailed(f"the {side} cannot use its own credentials: {error}") from error
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)

    def step(self) -> bool:
        """Go on with the handshake; True when this side is done with it."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise HandshakeFailed(f"the {self.side} {self.workload.identity} said no: {error}") from error
        return True

    def read(self) -> bytes:
        """What the peer has said."""
        try:
            return self.tls.read(1024)
        except ssl.SSLError as error:
            raise HandshakeFailed(f"the {self.side} {self.workload.identity} heard: {error}") from error

    def saw(self) -> tuple[str, ...]:
        """The peer's DNS and URI SANs in their order, as OpenSSL reads them."""
        found: Iterable[Any] = (self.tls.getpeercert() or {}).get("subjectAltName", ())
        return tuple(value for kind, value in found if kind in {"DNS", "URI"})

    def judge(self, peer: Workload) -> None:
        """See that the peer is whom it says it is. Raises HandshakeFailed."""
        saw = self.saw()
        if saw[:1] != (peer.identity,):
            raise HandshakeFailed(f"the {self.side} takes its peer, {peer.identity}, for {saw}")
        own = _trust_domain(self.workload.identity)
        if own is None:
            return
        domains = [_trust_domain(name) for name in saw if "://" in name]
        if domains != [own]:
            raise HandshakeFailed(f"the {self.side} of trust domain {own} has a peer of {domains}")


def _trust_domain(identity: str) -> str | None:
    return identity.split("/")[2] if identity.startswith("spiffe://") else None


def _shake(client: _End, server: _End) -> None:
    for _ in range(_ROUNDS):
        done = [client.step(), server.step()]
        _move(client, server)
        if all(done):
            return
    raise HandshakeFailed("neither side said no, and the handshake did not end")


def _move(one: _End, other: _End) -> None:
    """Carry what each side has said over to the other."""
    other.incoming.write(one.outgoing.read())
    one.incoming.write(other.outgoing.read())
