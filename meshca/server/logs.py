"""Structured logs: one JSON object a line, on standard error.

JSON escapes control characters and everything that is not ASCII, so that no name from outside can
forge a line (``ca-practice.md`` §6 case 35). Tokens, keys and PINs are never handed to a logger.
"""

from __future__ import annotations

import logging
import sys

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Logger = structlog.typing.FilteringBoundLogger


def configure(level: str, **always: str) -> Logger:
    """The process's logger. ``always`` stands in every line, such as which process wrote it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
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
