"""The bench: see ``scripts/bench``. Machines are noisy, so only the ratios within one run are worth comparing."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from meshca.clock import utc_now
from meshca.csr import Rules
from meshca.identity import Pod
from meshca.issuance.authorities import Authority
from meshca.issuance.ledger import Entry
from meshca.issuance.pipeline import Issuance, Wish
from meshca.issuance.policy import Policy, Rule
from meshca.issuance.profile import Lifetimes, istio_profile
from meshca.names import ServiceAccount, TrustDomain
from meshca.tokens import jws
from meshca.tokens.clusters import Cluster, Clusters
from meshca.tokens.jwks import JwksValidator
from meshca.tokens.keys import file_keys
from meshca.tokens.kubernetes_claims import claims_for
from tests.issuance.authority import make_authority

MESHCA = str(Path(sys.executable).with_name("meshca"))
TICKS = os.sysconf("SC_CLK_TCK")
ACCOUNT = ServiceAccount("emojivoto", "web")
TD = TrustDomain("cluster.local")
AUDIENCES = frozenset({"istio-ca"})
ISSUER = "https://kubernetes.default.svc.cluster.local"
CALLERS = 8


@dataclass
class Row:
    """One line of the table."""

    what: str
    microseconds: float
    """CPU of the server for each certificate, or of the operation."""
    ratio: float = 0.0
    goal: float | None = None
    per_second: float | None = None
    p99_milliseconds: float | None = None


def csr_for(account: ServiceAccount) -> bytes:
    """What ztunnel sends: P-256, an empty subject, one critical URI SAN."""
    name = x509.UniformResourceIdentifier(str(account.spiffe_id(TD)))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


class Minter:
    """Tokens of pods of their own, signed by the dev world's key: none is seen twice, so no cache helps."""

    def __init__(self, world: Path) -> None:
        key = load_pem_private_key((world / "service-account.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key

    def tokens(self, count: int) -> list[str]:
        return [self._token(number) for number in range(count)]

    def _token(self, number: int) -> str:
        claims = claims_for(
            ACCOUNT,
            issuer=ISSUER,
            account_uid=str(uuid.uuid5(uuid.NAMESPACE_DNS, "web")),
            audiences=sorted(AUDIENCES),
            issued=utc_now() - timedelta(seconds=5),
            lifetime=timedelta(hours=1),
            token_id=str(uuid.uuid4()),
            pod=Pod(f"web-{number}", str(uuid.uuid4()), "node-1"),
            node_uid=str(uuid.uuid5(uuid.NAMESPACE_DNS, "node-1")),
        )
        return jws.sign_rs256(claims, self._key, jws.key_id(self._key.public_key()))


def cpu_of(operation: Callable[[], object], *, times: int) -> float:
    """Microseconds of CPU for each run."""
    operation()
    began = time.process_time()
    for _ in range(times):
        operation()
    return (time.process_time() - began) / times * 1e6


def bare_operations() -> list[Row]:
    """What no issuance can do without, with nothing around it."""
    csr, data = csr_for(ACCOUNT), os.urandom(500)
    issuer, token = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    issuer_public, token_public = issuer.public_key(), token.public_key()
    signature = issuer.sign(data, ec.ECDSA(hashes.SHA256()))
    rs256 = token.sign(data, padding.PKCS1v15(), hashes.SHA256())
    operations: dict[str, Callable[[], object]] = {
        "bare: read a CSR and verify it": lambda: x509.load_pem_x509_csr(csr).is_signature_valid,
        "bare: verify an RS256 token": lambda: token_public.verify(rs256, data, padding.PKCS1v15(), hashes.SHA256()),
        "bare: sign": lambda: issuer.sign(data, ec.ECDSA(hashes.SHA256())),
        "bare: verify our own signature": lambda: issuer_public.verify(signature, data, ec.ECDSA(hashes.SHA256())),
    }
    return [Row(what, cpu_of(operation, times=4000)) for what, operation in operations.items()]


# --- the pipeline, in this process ------------------------------------------------------------


class _Fixed:
    """One authority that never changes."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def current(self) -> Authority:
        return self._authority

    async def refresh(self) -> None:
        return


class _Unwritten:
    """A ledger that forgets: what the pipeline costs without one."""

    async def record(self, entry: Entry) -> None:
        return


def pipeline(world: Path, *, certificates: int) -> Row:
    """Prove, judge, draft, sign, verify, lint: an issuance without wire and disk."""
    clusters = Clusters(
        [
            Cluster(
                "Kubernetes",
                JwksValidator(
                    cluster="Kubernetes", trust_domain=TD, issuer=ISSUER, keys=file_keys(world / "jwks.json")
                ),
            )
        ]
    )
    hours = timedelta(hours=1)
    issuance = Issuance(
        authorities=_Fixed(make_authority(now=utc_now())),
        policy=Policy([Rule(effect="allow")]),
        rules=Rules(),
        lifetimes=Lifetimes(default=24 * hours, minimum=hours / 12, maximum=24 * hours, jitter=0.05),
        ledger=_Unwritten(),
        clock=utc_now,
    )
    tokens, csr, profile = Minter(world).tokens(certificates), csr_for(ACCOUNT), istio_profile()

    async def run() -> float:
        began = time.process_time()
        for token in tokens:
            proven = await clusters.prove(token, audiences=AUDIENCES, now=utc_now())
            await issuance.issue(proven, csr, profile, Wish())
        return (time.process_time() - began) / len(tokens) * 1e6

    return Row("pipeline: prove, judge, draft, sign, verify, lint", asyncio.run(run()), goal=2.0)


# --- a real server ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running dev world."""

    world: Path
    environment: dict[str, str]
    ready_seconds: float

    @classmethod
    def start(cls, world: Path) -> Server:
        began = time.perf_counter()
        subprocess.run([MESHCA, "dev", "up", "--dir", world, "--detach"], check=True, capture_output=True)
        seconds = time.perf_counter() - began
        lines = (line.removeprefix("export ") for line in (world / "dev.env").read_text().splitlines())
        pairs = (shlex.split(line)[0].partition("=") for line in lines if "=" in line)
        return cls(world, {name: value for name, _, value in pairs}, seconds)

    @property
    def processes(self) -> dict[str, int]:
        """The process identifiers: the control process and its worker."""
        control = int(self.environment["MESHCA_DEV_PID"])
        children = Path(f"/proc/{control}/task/{control}/children").read_text().split()
        return {"control": control, "worker": int(children[0])}

    def cpu(self) -> float:
        """Seconds of CPU that both have used."""
        ticks = 0
        for pid in self.processes.values():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory(self) -> dict[str, float]:
        """Resident MB of each."""
        return {name: _resident(pid) for name, pid in self.processes.items()}

    def load(self, what: str, *, certificates: int, callers: int, new_connections: bool, goal: float | None) -> Row:
        job = {
            "address": self.environment["MESHCA_DEV_ISTIO"],
            "name": self.environment["MESHCA_DEV_ISTIO_NAME"],
            "roots": Path(self.environment["MESHCA_DEV_ROOTS"]).read_text(),
            "csr": csr_for(ACCOUNT).decode(),
            "tokens": Minter(self.world).tokens(certificates),
            "callers": callers,
            "new_connections": new_connections,
        }
        before = self.cpu()
        command = [sys.executable, str(Path(__file__).with_name("bench_load.py"))]
        done = subprocess.run(command, input=json.dumps(job), text=True, capture_output=True, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        took = sorted(result["took"])
        return Row(
            what,
            (self.cpu() - before) / certificates * 1e6,
            goal=goal,
            per_second=certificates / result["seconds"],
            p99_milliseconds=took[int(len(took) * 0.99)] * 1000,
        )


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def measure(certificates: int) -> tuple[list[Row], dict[str, Any]]:
    """All rows, in one run."""
    rows = bare_operations()
    bare = sum(row.microseconds for row in rows)
    rows.append(Row("bare operations of an issuance, together", bare))
    with tempfile.TemporaryDirectory(prefix="meshca-bench-") as name:
        server = Server.start(Path(name))
        try:
            idle = server.memory()
            rows.append(pipeline(server.world, certificates=max(certificates // 2, 1000)))
            for what, callers, fresh, goal in (
                ("one connection, 1 caller", 1, False, None),
                ("one connection, 8 callers", CALLERS, False, 3.2),
                ("one connection, 64 callers", 64, False, None),
                ("a new TLS connection each, 8 callers", CALLERS, True, 8.5),
            ):
                count = certificates // 4 if fresh or callers == 1 else certificates
                rows.append(server.load(what, certificates=count, callers=callers, new_connections=fresh, goal=goal))
            facts = {"ready_seconds": server.ready_seconds, "idle_mb": idle, "loaded_mb": server.memory()}
        finally:
            subprocess.run([MESHCA, "dev", "down", "--dir", name], check=False, capture_output=True)
    for row in rows:
        row.ratio = row.microseconds / bare
    return rows, facts


def show(rows: list[Row], facts: dict[str, Any]) -> None:
    print(f"{'':52}{'CPU µs':>8}{'ratio':>8}{'goal':>7}{'/s':>8}{'p99 ms':>8}")
    for row in rows:
        goal = f"≤ {row.goal:g}" if row.goal else ""
        rate = f"{row.per_second:.0f}" if row.per_second else ""
        p99 = f"{row.p99_milliseconds:.1f}" if row.p99_milliseconds else ""
        print(f"{row.what:52}{row.microseconds:8.1f}{row.ratio:8.2f}{goal:>7}{rate:>8}{p99:>8}")
    print(f"ready after {facts['ready_seconds']:.2f} s (goal ≤ 3)")
    for when in ("idle_mb", "loaded_mb"):
        memory = facts[when]
        print(
            f"memory, {when.removesuffix('_mb')}: worker {memory['worker']:.0f} MB (goal ≤ 100), "
            f"control process {memory['control']:.0f} MB (goal ≤ 130)"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=8000, help="how many in each of the larger runs")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    rows, facts = measure(arguments.certificates)
    show(rows, facts)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], **facts}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
