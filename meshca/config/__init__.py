"""The configuration: one YAML file, validated whole, as immutable values (DESIGN §10).

``model`` and the sections below it declare every field and say what it is for; ``rules`` are what
must fit together; ``load`` is the way in; ``reference`` makes ``docs/configuration.md`` of them. The
composition root alone imports this package, and hands values down.
"""

from __future__ import annotations

from meshca.config.address import Address
from meshca.config.authority import Csr, Issuer, Leaf, Root
from meshca.config.callers import ApiServer, Audiences, Cluster, Jwks, Match, PolicyRule
from meshca.config.doors import Http, Limits, Listener
from meshca.config.effective import shown_effective, to_yaml
from meshca.config.load import examine, load
from meshca.config.model import Config, Ledger, Rotation, Store
from meshca.config.problems import Problem

__all__ = [
    "Address",
    "ApiServer",
    "Audiences",
    "Cluster",
    "Config",
    "Csr",
    "Http",
    "Issuer",
    "Jwks",
    "Leaf",
    "Ledger",
    "Limits",
    "Listener",
    "Match",
    "PolicyRule",
    "Problem",
    "Root",
    "Rotation",
    "Store",
    "examine",
    "load",
    "shown_effective",
    "to_yaml",
]
