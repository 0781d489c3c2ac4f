"""What the commands ask of a server, print, and end with."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import yaml

from meshca._pb.meshca import admin_pb2
from meshca.cli.app import run
from tests.cli.admin_server import Answers, certificate, serving
from tests.operator.company import authority

FIELDS = [field.name for field in admin_pb2.Certificate.DESCRIPTOR.fields if field.name != "der"]


@dataclass
class Desk:
    """A server with prepared answers, and the command line in front of it."""

    answers: Answers
    server: str
    capture: pytest.CaptureFixture[str]

    def says(self, call: str, *answers: Any) -> None:
        self.answers.by_call[call] = list(answers)

    def run(self, *arguments: str) -> SimpleNamespace:
        code = run([*arguments, "--server", self.server])
        printed = self.capture.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)


@pytest.fixture
def desk(capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    answers = Answers()
    with serving(answers) as address:
        yield Desk(answers, address, capsys)


def test_list_is_one_json_array_with_the_fields_of_the_admin_api(desk: Desk) -> None:
    desk.says("ListCertificates", [certificate("01" * 16), certificate("02" * 16)])

    done = desk.run("certs", "list", "-o", "json")

    rows = json.loads(done.out)
    assert [row["serial"] for row in rows] == ["01" * 16, "02" * 16]
    assert [list(row) for row in rows] == [FIELDS, FIELDS]
    assert done.code == 0


def test_times_are_rfc_3339_in_utc_and_bytes_hexadecimal(desk: Desk) -> None:
    desk.says("ListCertificates", [certificate()])

    (row,) = json.loads(desk.run("certs", "list", "-o", "json").out)

    assert row["not_after"] == "2026-05-04T03:02:01Z"
    assert row["issued"] == "2026-05-04T03:02:01.250Z"
    assert row["spki_sha256"] == bytes(range(32)).hex()
    assert row["counter"] == 7


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_empty_list_is_an_empty_array(desk: Desk, output: str) -> None:
    desk.says("ListCertificates", [])

    assert yaml.safe_load(desk.run("certs", "list", "-o", output).out) == []


def test_yaml_and_json_say_the_same(desk: Desk) -> None:
    desk.says("ListCertificates", [certificate("01" * 16), certificate("02" * 16)])

    as_json, as_yaml = (desk.run("certs", "list", "-o", each).out for each in ("json", "yaml"))

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_table_in_a_pipe_cuts_nothing(desk: Desk) -> None:
    desk.says("ListCertificates", [certificate("01" * 16, pod="a" * 200)])

    done = desk.run("certs", "list")

    assert "01" * 16 in done.out
    assert "a" * 200 in done.out


def test_table_shows_no_control_characters(desk: Desk) -> None:
    issuer = admin_pb2.Issuer(id="1234", state="active", because="\x1b[2Jnew\nline\u202e")
    desk.says("ListIssuers", admin_pb2.ListIssuersResponse(issuers=[issuer]))

    done = desk.run("issuers", "list")

    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert r"\x1b[2Jnew\nline\u202e" in done.out


def test_limit_and_filters_reach_the_server(desk: Desk) -> None:
    desk.says("ListCertificates", [])

    filters = "--namespace n --service-account s --pod p --issuer i --service istio --cluster c --live --limit 0"
    desk.run("certs", "list", *filters.split())

    assert desk.answers.asked == [
        admin_pb2.ListCertificatesRequest(
            limit=0, namespace="n", service_account="s", pod="p", issuer="i", service="istio", cluster="c", live=True
        )
    ]


def test_shown_certificate_is_the_one_in_the_ledger(desk: Desk, tmp_path: Path) -> None:
    pem = authority(tmp_path, "root").certificate.read_text()
    der = subprocess.run(
        ["openssl", "x509", "-outform", "DER"], input=pem.encode(), check=True, capture_output=True
    ).stdout
    desk.says("GetCertificate", certificate(der=der))

    table, one = desk.run("certs", "show", "0a" * 16), desk.run("certs", "show", "0a" * 16, "-o", "json")

    assert table.out.endswith(pem)
    assert json.loads(one.out)["der"] == der.hex()


def test_bundle_is_exported_as_pem(desk: Desk, tmp_path: Path) -> None:
    one, two = (authority(tmp_path, name).certificate.read_text() for name in ("one", "two"))
    roots = [admin_pb2.Root(id="1", certificate=one), admin_pb2.Root(id="2", certificate=two)]
    desk.says("ListRoots", admin_pb2.ListRootsResponse(roots=roots, bundle_sequence=9))

    printed = desk.run("roots", "export")
    desk.run("roots", "export", "--out", str(tmp_path / "bundle.pem"))

    assert printed.out == one + two
    assert (tmp_path / "bundle.pem").read_text() == one + two


def test_unset_times_are_null(desk: Desk) -> None:
    desk.says("ListIssuers", admin_pb2.ListIssuersResponse(issuers=[admin_pb2.Issuer(id="1234", state="staged")]))

    (issuer,) = json.loads(desk.run("issuers", "list", "-o", "json").out)

    assert issuer["not_after"] is None


def test_issuer_is_found_by_the_beginning_of_its_id(desk: Desk) -> None:
    issuers = [admin_pb2.Issuer(id="12ab"), admin_pb2.Issuer(id="34cd")]
    desk.says("ListIssuers", admin_pb2.ListIssuersResponse(issuers=issuers))

    found, none = desk.run("issuers", "show", "34", "-o", "json"), desk.run("issuers", "show", "5")

    assert json.loads(found.out)["id"] == "34cd"
    assert (none.code, none.err) == (1, "error: 0 issuers begin with '5': see `meshca issuers list`\n")


ROTATING = admin_pb2.Rotation(issuer="new", state="staged", active_issuer="old", epoch=4)


def issuers(state: str) -> admin_pb2.ListIssuersResponse:
    return admin_pb2.ListIssuersResponse(issuers=[admin_pb2.Issuer(id="new", state=state)])


@pytest.mark.parametrize("words", [["rotate"], ["rotate", "issuer"]])
def test_rotate_states_a_wish_with_its_reason(desk: Desk, words: list[str]) -> None:
    desk.says("RotateIssuer", ROTATING)

    done = desk.run(*words, "--because", "a drill", "-o", "json")

    assert desk.answers.asked == [admin_pb2.RotateIssuerRequest(because="a drill")]
    assert json.loads(done.out)["issuer"] == "new"
    assert done.code == 0


def test_joining_a_rotation_has_its_own_exit_code(desk: Desk) -> None:
    joined = admin_pb2.Rotation()
    joined.CopyFrom(ROTATING)
    joined.joined = True
    desk.says("RotateIssuer", joined)

    assert desk.run("rotate").code == 3


def test_waiting_ends_when_the_new_issuer_is_active(desk: Desk) -> None:
    desk.says("RotateIssuer", ROTATING)
    desk.says("ListIssuers", issuers("staged"), issuers("loaded"), issuers("active"))
    desk.says("GetRotation", ROTATING, ROTATING, admin_pb2.Rotation(active_issuer="new", epoch=7))

    done = desk.run("rotate", "--wait", "-o", "json")

    rotation = json.loads(done.out)
    assert (rotation["issuer"], rotation["state"], rotation["active_issuer"]) == ("new", "active", "new")
    assert done.code == 0


def test_waiting_gives_up_after_the_timeout(desk: Desk) -> None:
    desk.says("RotateIssuer", ROTATING)
    desk.says("ListIssuers", issuers("staged"))
    desk.says("GetRotation", ROTATING)

    assert desk.run("rotate", "--wait", "--timeout", "0.3").code == 4


def test_waiting_for_an_issuer_that_was_abandoned_fails(desk: Desk) -> None:
    desk.says("RotateIssuer", ROTATING)
    desk.says("ListIssuers", issuers("abandoned"))
    desk.says("GetRotation", admin_pb2.Rotation(active_issuer="old"))

    done = desk.run("rotate", "--wait")

    assert done.code == 1
    assert "was abandoned" in done.err


def test_status_without_a_rotation_names_the_active_issuer(desk: Desk) -> None:
    desk.says("GetRotation", admin_pb2.Rotation(active_issuer="old", epoch=4))

    assert desk.run("rotate", "status").out == "no rotation is under way; issuer old is active (epoch 4)\n"


def test_status_shows_the_gates_and_why_they_wait(desk: Desk) -> None:
    rotation = admin_pb2.Rotation()
    rotation.CopyFrom(ROTATING)
    rotation.gates.add(name="replicas-loaded", state="waits", reason="behind: a at epoch 3", have=1, need=2)
    desk.says("GetRotation", rotation)

    done, fields = desk.run("rotate", "status"), desk.run("rotate", "status", "-o", "json")

    assert "behind: a at epoch 3" in done.out
    assert json.loads(fields.out)["gates"][0]["need"] == 2


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("row 7 was changed", 1)])
def test_ledger_with_a_fault_fails_the_check(desk: Desk, fault: str, code: int) -> None:
    findings = [admin_pb2.LedgerFinding(writer="a", rows=3), admin_pb2.LedgerFinding(writer="b", rows=9, fault=fault)]
    desk.says("CheckLedger", findings)

    done = desk.run("check", "ledger", "-o", "json")

    assert done.code == code
    assert json.loads(done.out)[1] == {"writer": "b", "rows": 9, "fault": fault}


def explanation(*, accepted: bool) -> admin_pb2.Explanation:
    answer = admin_pb2.Explanation(accepted=accepted, identity="spiffe://cluster.local/ns/a/sa/b" if accepted else "")
    answer.checks.add(name="audience", result="passed" if accepted else "refused", detail="" if accepted else "no")
    return answer


@pytest.mark.parametrize(("accepted", "code"), [(True, 0), (False, 1)])
def test_explained_token_is_sent_and_never_printed(desk: Desk, tmp_path: Path, accepted: bool, code: int) -> None:
    desk.says("ExplainToken", explanation(accepted=accepted))
    (tmp_path / "token").write_text("secret.token.signature\n")

    done = desk.run("explain", "token", str(tmp_path / "token"), "--service", "linkerd")

    assert desk.answers.asked == [admin_pb2.ExplainTokenRequest(token="secret.token.signature", service="linkerd")]
    assert done.code == code
    assert "secret" not in done.out + done.err
    assert "audience" in done.out


def test_token_can_come_from_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.says("ExplainToken", explanation(accepted=True))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a.b.c\n")))

    desk.run("explain", "token", "-")

    assert desk.answers.asked[0].token == "a.b.c"


def test_explained_csr_is_sent_as_it_is(desk: Desk, tmp_path: Path) -> None:
    desk.says("ExplainCsr", explanation(accepted=True))
    (tmp_path / "csr").write_bytes(b"\x30\x03\x02\x01\x00")

    done = desk.run("explain", "csr", str(tmp_path / "csr"), "--service-account", "a/b", "-o", "json")

    assert desk.answers.asked[0].csr == b"\x30\x03\x02\x01\x00"
    assert json.loads(done.out)["checks"] == [{"name": "audience", "result": "passed", "detail": ""}]


SERVER_ERRORS = {
    "the server's own words": (
        (grpc.StatusCode.FAILED_PRECONDITION, "the ledger has no certificate with serial '1'"),
        "error: the ledger has no certificate with serial '1'\n",
    ),
    "store away": ((grpc.StatusCode.UNAVAILABLE, "the store is locked"), "error: the store is locked\n"),
    "another version": (
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        "does not know this call: is it another version of meshca",
    ),
    "no words": ((grpc.StatusCode.INTERNAL, ""), "error: the server answered INTERNAL\n"),
}


@pytest.mark.parametrize(("status", "message"), SERVER_ERRORS.values(), ids=SERVER_ERRORS)
def test_refusal_of_the_server_is_one_line(desk: Desk, status: tuple[Any, str], message: str) -> None:
    desk.says("GetCertificate", status)

    done = desk.run("certs", "show", "1")

    assert (done.code, done.out) == (1, "")
    assert message in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
