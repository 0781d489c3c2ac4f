"""What all parts of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of the configuration: immutable, and without fields that nobody declared.

    ``null``, or a name with nothing behind it, means the default, so that a section whose lines are all
    commented out is as good as none. The docstring under a field is its entry on the reference page.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        serialize_by_alias=True,
        # An input may be a secret; our own list of problems shows it masked.
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _unset(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {name: value for name, value in fields.items() if value is not None or name not in known}
