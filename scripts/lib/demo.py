"""The demo: see ``scripts/demo``. Everything it does is a command that an operator could type."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.errors import HandshakeFailed
from tests.clients.workload import Workload, handshake

MESHCA = str(Path(sys.executable).with_name("meshca"))
LEAF_SECONDS = 20
HANDSHAKES = 100
"""The least number that makes the result mean something."""


def meshca(*words: str, show: bool = True) -> str:
    """Run a command, shown as it would be typed."""
    if show:
        print(f"\n$ meshca {' '.join(words)}", flush=True)
    done = subprocess.run([MESHCA, *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"meshca {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


@dataclass
class Proxy:
    """A workload whose proxy renews at half of each leaf's life, as the mesh's own would."""

    mesh: str
    identity: str
    world: Path
    renewals: int = 0
    issuers: list[str] = field(default_factory=list)
    _workload: Workload | None = None

    def fetch(self, *, show: bool = False) -> None:
        out = self.world / f"{self.mesh}-{self.renewals}"
        words = ("fetch", "--dev", str(self.world), "--as", self.mesh, "--service-account", "emojivoto/web")
        meshca(*words, "--out", str(out), show=show)
        read = {name: (out / f"{name}.pem").read_text() for name in ("leaf", "chain", "key", "roots")}
        self._workload = Workload(identity=self.identity, **read)
        self.renewals += 1
        issuer = self._workload.certificate.issuer.rfc4514_string().split(",")[0].removeprefix("CN=")
        if issuer not in self.issuers:
            self.issuers.append(issuer)

    @property
    def workload(self) -> Workload:
        assert self._workload is not None, "fetch() comes first"
        return self._workload

    def renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(LEAF_SECONDS / 4):
            self.fetch()


@dataclass
class Talk:
    """Handshakes between two workloads, in both directions, until told to stop."""

    one: Proxy
    other: Proxy
    done: int = 0
    failures: list[str] = field(default_factory=list)

    def until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for client, server in ((self.one, self.other), (self.other, self.one)):
                try:
                    handshake(client.workload, server.workload)
                except HandshakeFailed as error:
                    self.failures.append(str(error))
                self.done += 1
            time.sleep(0.02)


def active_issuer(world: Path, *, show: bool = False) -> dict[str, Any]:
    issuers = json.loads(meshca("issuers", "list", "-o", "json", "--server", f"unix:{world}/run/admin.sock", show=show))
    return next(issuer for issuer in issuers if issuer["state"] == "active")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="meshca-demo-") as name:
        world = Path(name)
        try:
            print("A certificate authority with no cluster around it, for both meshes:")
            print(meshca("dev", "up", "--dir", name, "--detach", "--set", f"leaf.lifetime={LEAF_SECONDS}s"))
            return talk(world)
        finally:
            meshca("dev", "down", "--dir", name, show=False)


def talk(world: Path) -> int:
    server = f"unix:{world}/run/admin.sock"
    linkerd = Proxy("linkerd", "web.emojivoto.serviceaccount.identity.linkerd.cluster.local", world)
    istio = Proxy("istio", "spiffe://cluster.local/ns/emojivoto/sa/web", world)
    print("\nA Linkerd proxy and an Istio proxy show their tokens and get certificates:")
    for proxy in (linkerd, istio):
        proxy.fetch(show=True)
    first = active_issuer(world)
    print(f"\nThey talk, and renew every {LEAF_SECONDS // 4} s; meanwhile the issuer is replaced:")
    stop, conversation = threading.Event(), Talk(linkerd, istio)
    threads = [
        threading.Thread(target=conversation.until, args=(stop,)),
        *(threading.Thread(target=proxy.renew_until, args=(stop,)) for proxy in (linkerd, istio)),
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)
        print(meshca("rotate", "--wait", "--because", "the demo", "--server", server))
        deadline = time.monotonic() + LEAF_SECONDS
        while time.monotonic() < deadline and not all(len(proxy.issuers) > 1 for proxy in (linkerd, istio)):
            time.sleep(0.1)
        time.sleep(2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    second = active_issuer(world)
    print("\nWho got what is in the ledger:")
    print(meshca("certs", "list", "--limit", "6", "--server", server))
    return report(conversation, first["id"], second["id"])


def report(talk: Talk, first: str, second: str) -> int:
    moved = [proxy.mesh for proxy in (talk.one, talk.other) if len(proxy.issuers) > 1]
    print(
        f"\n{talk.done} handshakes, {len(talk.failures)} failed; issuer {first} was replaced by {second}; "
        f"renewed under the new one: {', '.join(moved) or 'nobody'}"
    )
    for failure in talk.failures[:5]:
        print(f"  {failure}")
    return 0 if talk.done >= HANDSHAKES and not talk.failures and first != second and len(moved) == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
