"""Every error has its codes, and the codes are those that clients expect."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import grpc
import pytest

import meshca
from meshca.cli.fetching.verdict import NotAcceptable
from meshca.errors import BadRequest, Conflict, MeshcaError, Misconfigured, NotProven, SignerFault, Unavailable
from meshca.operator.init import AlreadyInitialised
from meshca.server.codes import CODES, Wire, code_of, message_of

Code = grpc.StatusCode
NEVER_ON_A_WIRE = {AlreadyInitialised, NotAcceptable}
"""Raised by `meshca init` and by `meshca fetch`, which are no server."""


def descendants(error: type[MeshcaError]) -> Iterator[type[MeshcaError]]:
    yield error
    for child in error.__subclasses__():
        yield from descendants(child)


def test_every_error_of_the_package_is_in_the_table() -> None:
    for module in pkgutil.walk_packages(meshca.__path__, "meshca."):
        if not module.name.endswith("__main__") and not module.name.startswith(("meshca.testing", "meshca.store.migr")):
            importlib.import_module(module.name)
    ours = {error for error in descendants(MeshcaError) if error.__module__.startswith("meshca.")}

    assert len(ours) > 10
    assert ours - NEVER_ON_A_WIRE == set(CODES)


def test_no_error_is_told_as_success_or_as_a_fault_of_grpc() -> None:
    said = {code for codes in CODES.values() for code in codes}

    assert not said & {Code.OK, Code.UNKNOWN, Code.CANCELLED, Code.UNIMPLEMENTED, Code.DEADLINE_EXCEEDED}


def test_a_subclass_without_a_line_of_its_own_has_its_parents() -> None:
    class Special(Unavailable):
        pass

    assert code_of(Special("away"), Wire.ISTIO) is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("check", "wire", "code"),
    [
        ("names", Wire.LINKERD, Code.FAILED_PRECONDITION),
        ("subject", Wire.LINKERD, Code.FAILED_PRECONDITION),
        ("identity", Wire.LINKERD, Code.FAILED_PRECONDITION),
        ("possession", Wire.LINKERD, Code.INVALID_ARGUMENT),
        ("names", Wire.ISTIO, Code.INVALID_ARGUMENT),
    ],
)
def test_another_identity_is_a_failed_precondition_at_linkerds_door_alone(check: str, wire: Wire, code: Code) -> None:
    assert code_of(BadRequest("no", check=check), wire) is code


@pytest.mark.parametrize("wire", [Wire.LINKERD, Wire.ISTIO])
def test_who_proved_nothing_is_told_no_reason(wire: Wire) -> None:
    message = message_of(NotProven("the signature is wrong", check="signature"), wire, "ab12")

    assert "signature" not in message
    assert message.endswith("(request ab12)")


@pytest.mark.parametrize("error", [Misconfigured("root.key has mode 0644"), SignerFault("key"), Conflict("state")])
def test_an_operators_trouble_is_told_to_operators_alone(error: MeshcaError) -> None:
    for wire in (Wire.LINKERD, Wire.ISTIO):
        assert str(error) not in message_of(error, wire, "ab12").removesuffix("(request ab12)")
    assert message_of(error, Wire.ADMIN, "") == str(error)
