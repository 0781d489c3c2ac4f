"""Our own serving certificate: issued like any other, renewed and swapped while connections stay up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshca import pem
from meshca.clock import Clock
from meshca.errors import MeshcaError
from meshca.identity import Identity
from meshca.issuance.pipeline import Issuance
from meshca.keys.algorithms import generate
from meshca.names import SpiffeId, TrustDomain
from meshca.server.listeners import ServingKeyPair
from meshca.server.logs import Logger

_RETRY = timedelta(seconds=1)


class ServingCertificate:
    """The certificate of one TLS listener, with a key of its own for each renewal."""

    def __init__(
        self,
        listener: str,
        names: Sequence[str],
        *,
        trust_domain: TrustDomain,
        issuance: Issuance,
        clock: Clock,
        log: Logger,
        renewed: Callable[[str, datetime], None],
    ) -> None:
        self.listener = listener
        self._identity = Identity(SpiffeId(trust_domain, ("meshca", "serving")), cluster="")
        # One URI SAN beside the DNS names makes it an SVID like every other leaf of ours (X509-1).
        self._names: tuple[x509.GeneralName, ...] = (
            *(x509.DNSName(name) for name in names),
            x509.UniformResourceIdentifier(str(self._identity)),
        )
        self._issuance = issuance
        self._clock = clock
        self._log = log
        self._renewed = renewed
        self._pair: ServingKeyPair | None = None
        self._renew_at = datetime.min

    def present(self) -> ServingKeyPair:
        """What the listener shows now; :meth:`renew` must have succeeded once."""
        assert self._pair is not None, "renew() comes before the listener starts"
        return self._pair

    async def renew(self) -> None:
        """A new key and a new certificate. Raises what the pipeline raises; the old one stays then."""
        private_key = generate("ecdsa-p256")
        issued = await self._issuance.issue_serving(self._identity, private_key.public_key(), self._names)
        leaf = pem.encode(issued.entry.der, label="CERTIFICATE")
        self._pair = ServingKeyPair(
            key=private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            chain="".join((leaf, *issued.authority.chain_pem)).encode(),
        )
        begin, end = self._clock(), issued.entry.not_after
        self._renew_at = begin + (end - begin) / 2
        self._renewed(self.listener, end)

    async def keep_fresh(self) -> None:
        """Renew at half of each life until cancelled; a failure is tried again each second."""
        while True:
            await asyncio.sleep(max((self._renew_at - self._clock()).total_seconds(), _RETRY.total_seconds() / 4))
            if self._clock() < self._renew_at:
                continue
            try:
                await self.renew()
            except MeshcaError as error:
                self._log.error("serving certificate not renewed", listener=self.listener, reason=str(error))
                await asyncio.sleep(_RETRY.total_seconds())
