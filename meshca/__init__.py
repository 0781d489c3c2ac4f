"""meshca: the certificate authority and identity service that every service mesh can share.

Read down the packages and they say the mission: ``tokens`` say who asks, ``csr`` says what is
asked, ``issuance`` decides and signs, ``rotation`` replaces issuers, ``roots`` is where trust
comes from. ``docs/architecture.md`` walks along with one certificate.
"""

from __future__ import annotations

__version__ = "0.1.0"
