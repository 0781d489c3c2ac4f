"""What a client demands of the certificate that it got."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshca.cli.fetching.requests import PrivateKey
from meshca.errors import MeshcaError, shown
from meshca.issuance.ledger import serial_text
from meshca.roots.judge import unverifiable

Value = TypeVar("Value", bound=x509.ExtensionType)


class NotAcceptable(MeshcaError):
    """What the server answered is not what the client needs."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer that was read and not yet verified."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """The intermediates."""
    roots: tuple[x509.Certificate, ...]
    valid_until: datetime | None = None
    """What Linkerd's answer says beside the certificate."""

    @property
    def serial(self) -> str:
        return serial_text(self.leaf.serial_number)


def verify_linkerd(delivery: Delivery, *, name: str, key: PrivateKey, now: datetime) -> None:
    """As linkerd2-proxy (``linkerd.md`` §1.3–1.4), and that its name comes first, since peers take the first one.

    Raises NotAcceptable with everything that is wrong.
    """
    problems = []
    if delivery.valid_until is None:
        problems.append("identity certification missing expiration (valid_until)")
    elif delivery.valid_until <= now:
        problems.append(f"valid_until is {delivery.valid_until}: certificate already expired")
    names = _alternative_names(delivery.leaf)
    if not names or names[0] != x509.DNSName(name):
        problems.append(f"its first name is {shown(_text(names[:1]))}, not the DNS name {name}")
    _accept([*problems, *_common(delivery, key, now)])


def verify_istio(delivery: Delivery, *, spiffe_id: str, key: PrivateKey, now: datetime) -> None:
    """As ztunnel, whose first URI must be the one it asked for, and as any sidecar's peers (``istio.md`` §1.3–1.4).

    Raises NotAcceptable with everything that is wrong.
    """
    uris = [each for each in _alternative_names(delivery.leaf) if isinstance(each, x509.UniformResourceIdentifier)]
    problems = []
    if [each.value for each in uris] != [spiffe_id]:
        problems.append(f"its URI names are {shown(_text(uris))}, not {spiffe_id} alone")
    _accept([*problems, *_common(delivery, key, now)])


def _accept(problems: list[str]) -> None:
    if problems:
        raise NotAcceptable("the certificate is not what this client needs: " + "; ".join(problems))


def _common(delivery: Delivery, key: PrivateKey, now: datetime) -> Iterator[str]:
    leaf = delivery.leaf
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        yield "it is for another key than ours"
    usages = _extension(leaf, x509.ExtendedKeyUsage)
    needed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    if usages is not None and not needed <= set(usages):
        yield "its extended key usage lacks serverAuth or clientAuth"
    problem = unverifiable(leaf, delivery.chain, delivery.roots, now)
    if problem is not None:
        yield f"it does not verify to the roots: {problem}"


def _alternative_names(leaf: x509.Certificate) -> list[x509.GeneralName]:
    return list(_extension(leaf, x509.SubjectAlternativeName) or [])


def _extension(leaf: x509.Certificate, kind: type[Value]) -> Value | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _text(names: list[x509.GeneralName] | list[x509.UniformResourceIdentifier]) -> str:
    return ", ".join(str(each.value) for each in names) or "none"
