"""From a proven identity and a CSR to a recorded certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from meshca.csr import Rules
from meshca.errors import BadRequest, Denied, MeshcaError, SignerFault, Superseded, Unavailable
from meshca.identity import Identity, Pod
from meshca.issuance.authorities import Authority
from meshca.issuance.ledger import Entry
from meshca.issuance.pipeline import Issuance, Wish
from meshca.issuance.policy import Bounds, Policy, Rule
from meshca.issuance.profile import Lifetimes, istio_profile
from meshca.keys.algorithms import generate
from meshca.keys.local import LocalSigner
from meshca.names import ServiceAccount
from meshca.tokens.validator import Proven
from tests.issuance.authority import NOW, TD, make_authority
from tests.openssl import openssl_verify

ACCOUNT = ServiceAccount("emojivoto", "web")
WEB = Identity(ACCOUNT.spiffe_id(TD), "Kubernetes", ACCOUNT, Pod("web-1", "uid-1", "node-1"))
PROVEN = Proven(WEB, "jwks", NOW + timedelta(hours=1), "JTI=42")
KEY = ec.generate_private_key(ec.SECP256R1())


def csr_for(name: str = str(WEB)) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


CSR = csr_for()


@dataclass
class Notebook:
    """A ledger in memory that answers as it is told."""

    answers: list[MeshcaError] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    tried: list[Entry] = field(default_factory=list)

    async def record(self, entry: Entry) -> None:
        self.tried.append(entry)
        await asyncio.sleep(0)
        if self.answers:
            raise self.answers.pop(0)
        self.entries.append(entry)


class Epochs:
    """Authorities that move on when they are refreshed."""

    def __init__(self, *authorities: Authority) -> None:
        self._rest: Iterator[Authority] = iter(authorities[1:])
        self._present = authorities[0]

    def current(self) -> Authority:
        return self._present

    async def refresh(self) -> None:
        self._present = next(self._rest)


AUTHORITY = make_authority()


def issuance(
    *authorities: Authority, ledger: Notebook, rules: tuple[Rule, ...] = (Rule(effect="allow"),),
    took: Callable[[str, float], None] = lambda stage, seconds: None, executor: ThreadPoolExecutor | None = None,
) -> Issuance:  # fmt: skip
    return Issuance(
        authorities=Epochs(*(authorities or (AUTHORITY,))),
        policy=Policy(rules),
        rules=Rules(),
        lifetimes=Lifetimes(timedelta(hours=24), timedelta(minutes=5), timedelta(hours=24), jitter=0.0),
        ledger=ledger,
        clock=lambda: NOW,
        took=took,
        executor=executor,
    )


async def test_what_is_issued_is_recorded_with_who_how_and_under_which_authority() -> None:
    ledger = Notebook()
    issued = await issuance(ledger=ledger).issue(
        PROVEN, CSR, istio_profile(), Wish(peer="ipv4:10.0.0.7:4711", request_id="feed")
    )
    (entry,) = ledger.entries
    assert entry == issued.entry
    assert (entry.identity, entry.namespace, entry.service_account) == (str(WEB), "emojivoto", "web")
    assert (entry.pod, entry.pod_uid, entry.node, entry.peer) == ("web-1", "uid-1", "node-1", "ipv4:10.0.0.7:4711")
    assert (entry.service, entry.proof, entry.credential, entry.request_id) == ("istio", "jwks", "JTI=42", "feed")
    assert (entry.issuer_id, entry.epoch, entry.bundle_sequence) == (AUTHORITY.issuer_id, 1, 1)
    assert entry.der == issued.leaf.public_bytes(Encoding.DER)
    assert issued.leaf.public_key() == KEY.public_key()
    openssl_verify(issued.leaf, untrusted=AUTHORITY.chain, roots=AUTHORITY.roots, at=NOW)


async def test_nothing_is_released_when_the_ledger_cannot_commit() -> None:
    ledger = Notebook([Unavailable("the disk is full")])
    with pytest.raises(Unavailable, match="disk is full"):
        await issuance(ledger=ledger).issue(PROVEN, CSR, istio_profile(), Wish())
    assert ledger.entries == []


async def test_what_was_signed_under_an_old_epoch_is_signed_again_under_the_next() -> None:
    following = make_authority(epoch=2)
    ledger = Notebook([Superseded("epoch 2")])
    issued = await issuance(AUTHORITY, following, ledger=ledger).issue(PROVEN, CSR, istio_profile(), Wish())
    assert issued.authority is following
    issued.leaf.verify_directly_issued_by(following.issuer)
    assert [entry.epoch for entry in ledger.tried] == [1, 2]
    assert [entry.epoch for entry in ledger.entries] == [2]


async def test_an_authority_set_that_never_rests_ends_in_unavailable() -> None:
    ledger = Notebook([Superseded("again")] * 10)
    with pytest.raises(Unavailable, match="moved on 3 times"):
        await issuance(*[AUTHORITY] * 10, ledger=ledger).issue(PROVEN, CSR, istio_profile(), Wish())
    assert ledger.entries == []


async def test_policy_is_asked_before_the_csr_is_read() -> None:
    ledger = Notebook()
    with pytest.raises(Denied) as caught:
        await issuance(ledger=ledger, rules=()).issue(PROVEN, b"no CSR at all", istio_profile(), Wish())
    assert caught.value.check == "policy"
    assert ledger.tried == []


async def test_a_csr_for_another_identity_is_refused_and_leaves_no_trace() -> None:
    ledger = Notebook()
    with pytest.raises(BadRequest) as caught:
        await issuance(ledger=ledger).issue(
            PROVEN, csr_for("spiffe://cluster.local/ns/emojivoto/sa/admin"), istio_profile(), Wish()
        )
    assert caught.value.check == "names"
    assert ledger.tried == []


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, timedelta(hours=24)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=400), timedelta(hours=24)),
        (timedelta(seconds=1), timedelta(minutes=5)),
        (timedelta(seconds=-7), timedelta(hours=24)),
    ],
)
async def test_the_wished_lifetime_is_granted_within_the_bounds(asked: timedelta | None, granted: timedelta) -> None:
    issued = await issuance(ledger=Notebook()).issue(PROVEN, CSR, istio_profile(), Wish(lifetime=asked))
    assert issued.entry.not_after == (NOW + granted).replace(microsecond=0)


async def test_the_bounds_of_a_policy_rule_count() -> None:
    rules = (Rule(effect="allow", bounds=Bounds(maximum=timedelta(minutes=30))),)
    issued = await issuance(ledger=Notebook(), rules=rules).issue(PROVEN, CSR, istio_profile(), Wish())
    assert issued.entry.not_after == (NOW + timedelta(minutes=30)).replace(microsecond=0)


class Broken(LocalSigner):
    """A key that signs something else."""

    def sign(self, tbs: bytes) -> bytes:
        return super().sign(b"something else")


async def test_after_a_fault_a_key_signs_no_more() -> None:
    ledger = Notebook()
    faulty = replace(AUTHORITY, signer=Broken(generate("ecdsa-p256")))
    service = issuance(faulty, ledger=ledger)
    with pytest.raises(SignerFault, match="does not verify"):
        await service.issue(PROVEN, CSR, istio_profile(), Wish())
    with pytest.raises(SignerFault, match="answered wrongly before"):
        await service.issue(PROVEN, CSR, istio_profile(), Wish())
    assert ledger.tried == []


async def test_a_leaf_with_a_flaw_of_ours_is_neither_recorded_nor_released() -> None:
    two = tuple(
        x509.UniformResourceIdentifier(f"spiffe://cluster.local/ns/emojivoto/sa/{name}") for name in ("web", "a")
    )
    flawed = replace(istio_profile(), names=lambda identity: two)
    ledger = Notebook()
    with pytest.raises(SignerFault, match="2 URI SANs"):
        await issuance(ledger=ledger).issue(PROVEN, CSR, flawed, Wish())
    assert ledger.tried == []


class Remote(LocalSigner):
    """A key that is far away: it may not be asked on the event loop."""

    remote = True

    def sign(self, tbs: bytes) -> bytes:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return super().sign(tbs)


async def test_a_remote_key_signs_off_the_event_loop() -> None:
    assert isinstance(AUTHORITY.signer, LocalSigner)
    far = replace(AUTHORITY, signer=Remote(AUTHORITY.signer._private_key))
    with ThreadPoolExecutor(1) as executor:
        issued = await issuance(far, ledger=Notebook(), executor=executor).issue(PROVEN, CSR, istio_profile(), Wish())
    issued.leaf.verify_directly_issued_by(AUTHORITY.issuer)


async def test_every_stage_is_timed() -> None:
    seen: list[str] = []
    service = issuance(ledger=Notebook(), took=lambda stage, seconds: seen.append(stage))
    await service.issue(PROVEN, CSR, istio_profile(), Wish())
    assert seen == ["judge", "sign", "record"]


async def test_our_own_serving_certificate_is_recorded_too() -> None:
    ledger = Notebook()
    names = (
        x509.DNSName("istiod.istio-system.svc"),
        x509.UniformResourceIdentifier("spiffe://cluster.local/meshca/serving"),
    )
    own = Identity(type(WEB.spiffe_id)(TD, ("meshca", "serving")), cluster="")
    issued = await issuance(ledger=ledger).issue_serving(own, KEY.public_key(), names)
    (entry,) = ledger.entries
    assert (entry.service, entry.proof, entry.namespace) == ("serving", "self", "")
    openssl_verify(issued.leaf, untrusted=AUTHORITY.chain, roots=AUTHORITY.roots, at=NOW)


async def test_serials_of_concurrent_requests_differ() -> None:
    ledger = Notebook()
    service = issuance(ledger=ledger)
    await asyncio.gather(*(service.issue(PROVEN, CSR, istio_profile(), Wish()) for _ in range(200)))
    assert len({entry.serial for entry in ledger.entries}) == 200


def test_the_clock_is_read_once_for_each_signature() -> None:
    readings: list[datetime] = []

    def clock() -> datetime:
        readings.append(NOW)
        return NOW

    service = Issuance(
        authorities=Epochs(AUTHORITY),
        policy=Policy([Rule(effect="allow")]),
        rules=Rules(),
        lifetimes=Lifetimes(timedelta(hours=24), timedelta(minutes=5), timedelta(hours=24), jitter=0.0),
        ledger=Notebook(),
        clock=clock,
    )
    asyncio.run(service.issue(PROVEN, CSR, istio_profile(), Wish()))
    assert len(readings) == 1
