"""Our values as the admin API's messages."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from meshca._pb.meshca import admin_pb2
from meshca.roots.judge import fingerprint
from meshca.rotation.authority_set import Issuer, Root
from meshca.rotation.controller import Progress
from meshca.rotation.gates import Leaves
from meshca.store import CertificateRow


def certificate(row: CertificateRow, *, der: bool) -> admin_pb2.Certificate:
    """A row of the ledger; with the certificate itself when one is shown alone."""
    entry = row.entry
    message = admin_pb2.Certificate(
        serial=f"{entry.serial:032x}",
        identity=entry.identity,
        cluster=entry.cluster,
        namespace=entry.namespace,
        service_account=entry.service_account,
        pod=entry.pod,
        pod_uid=entry.pod_uid,
        node=entry.node,
        peer=entry.peer,
        service=entry.service,
        proof=entry.proof,
        credential=entry.credential,
        issuer=entry.issuer_id,
        spki_sha256=entry.spki_sha256,
        bundle_sequence=entry.bundle_sequence,
        epoch=entry.epoch,
        writer=row.writer,
        counter=row.counter,
        request_id=entry.request_id,
        running_hash=row.running_hash,
        der=entry.der if der else b"",
    )
    message.not_before.FromDatetime(entry.not_before)
    message.not_after.FromDatetime(entry.not_after)
    message.issued.FromDatetime(entry.issued)
    return message


def issuer(each: Issuer, leaves: Leaves) -> admin_pb2.Issuer:
    """An issuer, and what the ledger says of its leaves."""
    message = admin_pb2.Issuer(
        id=each.id,
        state=each.state,
        root=each.root_id,
        key_type=_key_type(each.chain[0]) if each.chain else "",
        key=each.key_kind,
        spki_sha256=each.spki_sha256,
        chain="".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in each.chain),
        because=each.because,
        live_leaves=leaves.live,
    )
    message.created.FromDatetime(each.created)
    if each.chain:
        message.not_before.FromDatetime(each.chain[0].not_valid_before_utc)
        message.not_after.FromDatetime(each.chain[0].not_valid_after_utc)
    if leaves.last_end is not None:
        message.last_leaf_ends.FromDatetime(leaves.last_end)
    return message


def root(each: Root) -> admin_pb2.Root:
    """A root of the trust bundle."""
    message = admin_pb2.Root(
        id=each.id,
        state=each.state,
        subject=each.certificate.subject.rfc4514_string(),
        key_type=_key_type(each.certificate),
        fingerprint=bytes.fromhex(fingerprint(each.certificate).removeprefix("sha256:")),
        certificate=each.certificate.public_bytes(Encoding.PEM).decode(),
    )
    message.not_before.FromDatetime(each.certificate.not_valid_before_utc)
    message.not_after.FromDatetime(each.certificate.not_valid_after_utc)
    return message


def rotation(progress: Progress, *, joined: bool) -> admin_pb2.Rotation:
    """Where a rotation is; without an issuer when none is under way."""
    present, new = progress.present, progress.present.on_its_way
    return admin_pb2.Rotation(
        issuer=new.id if new else "",
        state=new.state if new else "",
        because=new.because if new else "",
        gates=[
            admin_pb2.Gate(name=gate.name, state=gate.state, reason=gate.reason, have=gate.have, need=gate.need)
            for gate in progress.gates
        ],
        joined=joined,
        active_issuer=present.active.id,
        epoch=present.epoch,
        trouble=progress.trouble,
    )


def _key_type(each: x509.Certificate) -> str:
    key = each.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return type(key).__name__
