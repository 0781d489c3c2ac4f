"""Keys that sign, wherever they live.

``signer`` is the port that every kind implements; ``algorithms`` says how a key of each type signs
and how its signatures are verified; ``local`` is a key in this process; ``sealed`` keeps a local
key encrypted at rest.
"""

from __future__ import annotations

from meshca.keys.signer import Signer

__all__ = ["Signer"]
