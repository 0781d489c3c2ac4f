"""The configuration as it is in effect, printed."""

from __future__ import annotations

from typing import Any

from meshca.config.masking import masked
from meshca.config.model import Config


def shown_effective(config: Config) -> dict[str, Any]:
    """Every field with the value in effect, as it would be written, for JSON or YAML; passwords are masked."""
    shown: dict[str, Any] = _masked(config.model_dump(mode="json"))
    return shown


def to_yaml(config: Config) -> str:
    """A file that loads as this configuration. It holds what the configuration holds, passwords included."""
    # PyYAML is needed where files are read and written; workers get theirs as JSON.
    import yaml

    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=False)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return masked(value) if isinstance(value, str) else value
