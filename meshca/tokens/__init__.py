"""Who is asking: a bearer's token proven to be an identity.

``validator`` is the port. ``clusters`` is the way in: it picks the validator of the cluster that the
caller names. ``jwks`` checks tokens offline with the cluster's own keys, which ``keys`` holds and
``keyset`` reads; ``jws`` is the signature format below it. The review by an API server is an adapter
in ``kube``; ``cache`` remembers one for a short while. ``kubernetes_claims`` is what Kubernetes says
of an account, in a token and in a review alike.
"""

from __future__ import annotations

from meshca.tokens.clusters import Cluster, Clusters
from meshca.tokens.validator import Proven, Validator

__all__ = ["Cluster", "Clusters", "Proven", "Validator"]
