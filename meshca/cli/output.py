"""What commands print: a table for people, JSON or YAML for programs.

For programs, a list is one array and a single thing one object, whose keys are the names of the admin API's
fields (``proto/meshca/admin.proto``); times are RFC 3339 in UTC, bytes are lower-case hexadecimal
digits, and what is not known is null.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

Record = Mapping[str, Any]

_TIMESTAMP = "google.protobuf.Timestamp"
_WIDE = 10_000
"""Columns of a table that goes into a pipe: nothing is folded or cut there."""


class Format(enum.StrEnum):
    """How output is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def record(message: Message, *, without: Collection[str] = ()) -> dict[str, Any]:
    """A message of the admin API with all its fields, set or not, in the order of their declaration."""
    return {field.name: _value(message, field.name) for field in message.DESCRIPTOR.fields if field.name not in without}


def _value(message: Message, name: str) -> Any:
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.message_type is None:
        return value.hex() if isinstance(value, bytes) else value
    if field.message_type.full_name == _TIMESTAMP:
        return value.ToJsonString() if message.HasField(name) else None
    return [record(each) for each in value]


def print_list(records: Iterable[Record], columns: Sequence[str], output: Format) -> int:
    """Print records as they come, one array in all, and return how many there were.

    ``columns`` are the fields that a table shows; programs get all fields.
    """
    match output:
        case Format.JSON:
            return _json_array(records)
        case Format.YAML:
            return _yaml_list(records)
        case Format.TABLE:
            return _table(records, columns)


def print_object(one: Record, output: Format, *, leave_out: Collection[str] = ()) -> None:
    """Print a single thing. ``leave_out`` are fields that a table has no room for."""
    match output:
        case Format.JSON:
            print(json.dumps(one, indent=2))
        case Format.YAML:
            print(yaml_text(one), end="")
        case Format.TABLE:
            shown = [(name, _cell(value)) for name, value in one.items() if name not in leave_out]
            width = max(len(name) for name, _ in shown)
            for name, value in shown:
                print(f"{name.replace('_', ' '):<{width}}  {value}".rstrip())


def yaml_text(value: Any) -> str:
    """As YAML, keys in their own order."""
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=_WIDE)
    return text


def notice(text: str) -> None:
    """A word to a person, beside the output: on standard error."""
    print(text, file=sys.stderr)


def _json_array(records: Iterable[Record]) -> int:
    count = 0
    for each in records:
        sys.stdout.write((",\n" if count else "[\n") + json.dumps(each))
        count += 1
    sys.stdout.write("\n]\n" if count else "[]\n")
    return count


def _yaml_list(records: Iterable[Record]) -> int:
    count = 0
    for each in records:
        sys.stdout.write(yaml_text([each]))
        count += 1
    if not count:
        sys.stdout.write("[]\n")
    return count


def _table(records: Iterable[Record], columns: Sequence[str]) -> int:
    from rich.console import Console
    from rich.table import Table

    console = Console(
        markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else _WIDE, soft_wrap=False
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    count = 0
    for each in records:
        table.add_row(*(_cell(each[column]) for column in columns))
        count += 1
    if count:
        console.print(table)
    return count


def _cell(value: Any) -> str:
    """A value as a table shows it, with nothing in it that could move the cursor."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(_cell(each) for each in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(each)}" for key, each in value.items() if each not in ("", None))
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]
