"""Rules about the store, the root and the processes."""

from __future__ import annotations

from collections.abc import Iterator

from meshca.config.model import Config
from meshca.config.problems import Problem
from meshca.config.rules.rule import rule


@rule("store", "workers")
def one_worker_with_sqlite(config: Config) -> Iterator[Problem]:
    """Several writers on one file starve each other (DESIGN §4)."""
    if config.workers > 1 and config.store.url.startswith("sqlite"):
        yield Problem(
            ("workers",),
            "with SQLite there is one worker: write 1. More need PostgreSQL, which follows in a later version",
            str(config.workers),
        )


@rule("root")
def key_with_its_certificate(config: Config) -> Iterator[Problem]:
    """A key alone signs under no name."""
    if config.root.key and not config.root.certificate:
        yield Problem(("root", "certificate"), "write the file of the certificate that root.key belongs to", "not set")


@rule("root")
def passphrase_with_its_key(config: Config) -> Iterator[Problem]:
    """A passphrase for nothing is a line that was forgotten."""
    if config.root.passphrase_file and not config.root.key:
        yield Problem(("root", "key"), "write the file of the key that root.passphrase_file opens", "not set")


RULES = (one_worker_with_sqlite, key_with_its_certificate, passphrase_with_its_key)
