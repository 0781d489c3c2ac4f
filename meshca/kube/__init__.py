"""Clients of Kubernetes' API server: ``review`` proves a token by asking it, ``keys`` fetches the keys that it
publishes, ``client`` is how it is called. The ``kubernetes`` package is imported here and nowhere else."""
