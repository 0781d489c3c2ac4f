"""One row of the attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from meshca.csr import Expected, Form
from tests.attacks.requests import ISTIO, LINKERD


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A request that must be refused."""

    case: int
    """The number in ``reference/ca-practice.md`` §6."""
    name: str
    form: Form
    check: str
    """The check that must refuse it, ``BadRequest.check``."""
    source: str
    """Who was attacked so, or the rule that forbids it."""
    make: Callable[[], bytes]
    judged: bool = True
    """Whether the request alone tells. If not, the ledger refuses it where the policy says so (case 12)."""

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"

    @cached_property
    def request(self) -> bytes:
        """Made on first use: some keys take a while."""
        return self.make()

    @property
    def expected(self) -> Expected:
        """What the door that it is for demands of an honest request."""
        return (ISTIO if self.form is Form.PEM else LINKERD).expected
