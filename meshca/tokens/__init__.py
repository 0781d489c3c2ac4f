"""Who is asking: a bearer's token proven to be an identity.

``validator`` is the port; ``jws`` and ``jwks`` check tokens offline with a cluster's own keys;
``review`` asks the cluster's API server; ``cache`` remembers a review for a short while;
``clusters`` picks the validator of the cluster that the caller names.
"""

from __future__ import annotations

from meshca.tokens.validator import Proven, Validator

__all__ = ["Proven", "Validator"]
