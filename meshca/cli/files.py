"""Files that other programs read while we write them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from meshca.errors import Misconfigured


def write(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file in one step: a reader sees the old content or the new, and a crash leaves one of them.

    Raises Misconfigured when its folder cannot be written to.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None


def folder(path: Path) -> Path:
    """The folder as an absolute path, made with mode 0700 when it is missing. Raises Misconfigured."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.resolve(strict=True)
    except OSError as error:
        raise Misconfigured(f"the folder {path} cannot be used: {error.strerror}") from None
