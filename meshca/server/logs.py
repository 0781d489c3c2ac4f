"""Structured logs: one JSON object a line, on standard error.

JSON escapes control characters and everything that is not ASCII, so that no name from outside can
forge a line (``ca-practice.md`` §6 case 35). Tokens, keys and PINs are never handed to a logger.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Logger = structlog.typing.FilteringBoundLogger


def configure(level: str, **always: str) -> Logger:
    """The process's logger. ``always`` stands in every line, such as which process wrote it."""
    structlog.configure(
        processors=[_line],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # A library's own message may hold what it was sent, a token among it: only its name and place are kept.
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format='{"level": "warning", "event": "library", "at": "%(name)s:%(lineno)d"}',
    )
    logger: Logger = structlog.get_logger().bind(**always)
    return logger


def _line(_: object, level: str, event: structlog.typing.EventDict) -> bytes:
    """The whole line in one step: a chain of processors costs as much as a signature."""
    return json.dumps({"time": datetime.now(UTC).isoformat(), "level": level, **event}, default=str).encode()
