"""The command line: one module per noun.

Nothing heavy is imported until a command needs it, so that ``meshca version`` and ``--help`` answer
at once.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the process was started with, and end the process with its exit code."""
    from meshca.cli.app import run

    sys.exit(run(sys.argv[1:]))
