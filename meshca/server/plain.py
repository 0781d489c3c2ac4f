"""The configuration as a worker gets it: the same fields, without the library that judged them.

pydantic costs a process 20 MB, and a worker judges nothing: the control process has. So it is told the
values, and reads them by the same names.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from meshca.config import Config

_DURATION = "seconds of a duration"
_PATH = "path"


def plain(config: Config) -> str:
    """The configuration as JSON that :func:`read` understands."""
    return json.dumps(config.model_dump(mode="python", by_alias=False), default=_written)


def read(text: str) -> Config:
    """What :func:`plain` wrote, with durations and paths as they were; lists stand for tuples."""
    return cast("Config", json.loads(text, object_hook=_object))


def _written(value: object) -> dict[str, Any]:
    if isinstance(value, timedelta):
        return {_DURATION: value.total_seconds()}
    if isinstance(value, Path):
        return {_PATH: str(value)}
    raise TypeError(f"the configuration holds a {type(value).__name__}, which a worker could not read")


def _object(members: dict[str, Any]) -> object:
    match members:
        case {"seconds of a duration": seconds, **rest} if not rest:
            return timedelta(seconds=seconds)
        case {"path": path, **rest} if not rest:
            return Path(path)
    return SimpleNamespace(**members)
