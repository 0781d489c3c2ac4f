"""The migrations make exactly the schema that the code says, one revision after the other."""

from __future__ import annotations

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from meshca.store import Store, migrations, schema


def _definitions(rows: list[str]) -> set[str]:
    """Definitions that are equal whatever their blanks and the order of their lines."""
    return {" ".join(sorted(re.split(r"[\s,]+", row))) for row in rows}


def test_the_revisions_are_those_that_the_code_knows_in_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.REVISIONS[-1]]
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == schema.REVISIONS


def test_alembic_sees_no_difference_between_the_migrations_and_the_code(store: Store) -> None:
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_tables_and_indexes_are_the_same_to_the_letter(store: Store) -> None:
    query = text("SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'alembic%'")
    with store.reading() as connection:
        migrated = list(connection.scalars(query))
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        declared = list(connection.scalars(query))
    engine.dispose()
    assert len(migrated) == 11
    assert _definitions(migrated) == _definitions(declared)


def test_every_table_is_strict_so_that_a_column_holds_what_it_says(store: Store) -> None:
    with store.reading() as connection:
        tables = connection.execute(text("SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite%'"))
        strict = {row.name: bool(row.strict) for row in tables}
    assert strict == dict.fromkeys(schema.metadata.tables, True) | {"alembic_version": False}
