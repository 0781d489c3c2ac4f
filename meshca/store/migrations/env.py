"""What Alembic runs to apply the revisions: on the connection and in the transaction that it is given."""

from __future__ import annotations

from alembic import context

# SQLite's DDL is transactional when its driver does not commit on its own, and ours does not (engine.py).
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
