"""Which names a rule speaks of: ``*`` for every name, ``PREFIX*``, or one name exactly."""

from __future__ import annotations

from dataclasses import dataclass

from meshca.errors import Misconfigured, shown


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of names; nothing is cleaned or folded before it is compared (``ca-practice.md`` §6 case 69).

    Raises Misconfigured for any other form.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text or "*" in self.text[:-1] or not self.text.isascii() or not self.text.isprintable():
            raise Misconfigured(
                f"{shown(self.text)} is not a pattern of names: write *, a name, or the beginning of one followed by *"
            )

    def __str__(self) -> str:
        return self.text

    def matches(self, name: str) -> bool:
        """Whether the pattern is for this name. Who has no name is meant by none, not even by ``*``."""
        if self.text.endswith("*"):
            return bool(name) and name.startswith(self.text[:-1])
        return name == self.text


ANY = Pattern("*")
