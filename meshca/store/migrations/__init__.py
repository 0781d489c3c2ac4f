"""The schema's revisions, as Alembic's scripts, and the one way in which they are applied.

A change is expand-then-contract: what a release adds, the release before must be able to ignore
(DESIGN §4).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Bring the schema to the present revision, in the transaction that the connection is in.

    Alembic is imported here, since it costs 10 MB and only the process that upgrades needs it.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
