"""How rows are made: one for each door that the attack is fit for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from meshca.csr import Form
from tests.attacks.attack import Attack
from tests.attacks.keys import Key
from tests.attacks.requests import DOORS, Body, Door


def row(
    case: int, name: str, check: str, make: Callable[[], bytes], *, form: Form, source: str, judged: bool = True
) -> Attack:
    """One request at one door."""
    return Attack(case=case, name=name, form=form, check=check, source=source, make=make, judged=judged)


def at_doors(
    case: int, name: str, check: str, body: Callable[[Door], Body], source: str, *, doors: tuple[Door, ...] = DOORS
) -> Iterator[Attack]:
    """The same attack at each of these doors."""
    for door in doors:
        make = partial(_encoded, body, door)
        yield row(case, f"{name}-{door.name}", check, make, form=door.form, source=source)


def _encoded(body: Callable[[Door], Body], door: Door) -> bytes:
    return body(door).encoded()


def with_key(case: int, name: str, check: str, key: Callable[[], Key], source: str) -> Iterator[Attack]:
    """An honest request but for its key, at both doors."""
    return at_doors(case, name, check, lambda door: Body(door=door, key=key()), source)
