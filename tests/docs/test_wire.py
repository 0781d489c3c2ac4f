"""``docs/wire.md`` has the codes of the code, and the methods of the protocols."""

from __future__ import annotations

from meshca._pb.istio import ca_pb2
from meshca._pb.linkerd import identity_pb2
from meshca._pb.meshca import admin_pb2
from meshca.server.codes import _LINKERD_PRECONDITIONS, CODES, Wire
from tests.docs.pages import DOCS, rows, words

PAGE = (DOCS / "wire.md").read_text()


def test_the_table_of_codes_is_that_of_the_code() -> None:
    table = rows(PAGE, "## Codes")
    written = {words(name)[0]: tuple(words(cell)[0] for cell in codes) for name, _, *codes in table}

    assert written == {error.__name__: tuple(code.name for code in codes) for error, codes in CODES.items()}


def test_the_columns_are_in_the_order_of_the_wires() -> None:
    assert f"| error | who must act | {' | '.join(wire.name.lower() for wire in Wire)} |" in PAGE


def test_the_checks_that_linkerd_calls_preconditions_are_named() -> None:
    (line,) = [line for line in PAGE.splitlines() if "FAILED_PRECONDITION" in line and "names somebody else" in line]

    assert set(words(line)) - {"FAILED_PRECONDITION"} == _LINKERD_PRECONDITIONS


def test_every_method_of_the_admin_api_is_named() -> None:
    table = rows(PAGE, "## Administration: `meshca.admin.v1.Admin`")

    methods = [name for row in table for name in words(row[0])]

    assert sorted(methods) == sorted(admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods_by_name)


def test_the_meshes_methods_and_fields_are_those_of_the_protocols() -> None:
    certify = identity_pb2.DESCRIPTOR.services_by_name["Identity"].methods_by_name["Certify"]
    create = ca_pb2.DESCRIPTOR.services_by_name["IstioCertificateService"].methods_by_name["CreateCertificate"]
    for method, title in ((certify, "Linkerd"), (create, "Istio")):
        heading = f"## {title}: `{method.containing_service.full_name}/{method.name}`"
        section = PAGE.partition(heading)[2].partition("\n## ")[0]
        fields = {field.name for message in (method.input_type, method.output_type) for field in message.fields}
        assert section, heading
        assert {field for field in fields if f"`{field}" not in section} == set()
