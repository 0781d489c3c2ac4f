"""``python -m meshca``: the same as the command ``meshca``."""

from __future__ import annotations

from meshca.cli import main

if __name__ == "__main__":
    main()
