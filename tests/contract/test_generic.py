"""Two resellers, described: every code means what the table says, and the request is the one."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer

from tests.contract.cases.common import PERSON
from tests.contract.cases.generic import FORM_RESELLER, RESELLER, generic
from tests.transport.scripted import ScriptedServer, always, answer
from verifier.carriers.base import Answer, Number
from verifier.carriers.generic import Generic, Settings
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome
from verifier.transport import Deadline, Transport

VERIFY = "/reseller/v1/three-elements"
MOMENT = datetime(2026, 5, 31, 16, 30, 0, 250_000, tzinfo=UTC)  # in China it is June already
Asked = Callable[..., Answer]

RESULTS = {
    "1": (Outcome.MATCHED, None, Billed.YES),
    "2": (Outcome.MISMATCHED, "UNSPECIFIED", Billed.YES),
    "3": (Outcome.NO_RECORD, None, Billed.NO),
}
ERRORS = {
    "1001": (Outcome.AUTH_CONFIG, None),
    "1002": (Outcome.AUTH_CONFIG, None),
    "1003": (Outcome.AUTH_CONFIG, None),
    "1004": (Outcome.INVALID_INPUT, "PARAM"),
    "1005": (Outcome.RATE_LIMITED, "ACCOUNT_QPS"),
    "1006": (Outcome.ARREARS, None),
    "1007": (Outcome.MAINTENANCE, None),
    "1009": (Outcome.PROVIDER_ERROR, None),
    "2001": (Outcome.INVALID_INPUT, "PHONE"),
    "2002": (Outcome.INVALID_INPUT, "ID"),
    "2003": (Outcome.INVALID_INPUT, "NAME"),
    "2004": (Outcome.UNSUPPORTED_NUMBER, "SEGMENT"),
}
STATUSES = {
    "0": (Fact.ACTIVE, Billed.YES),
    "1": (Fact.SUSPENDED, Billed.YES),
    "2": (Fact.CANCELLED, Billed.YES),
    "3": (Fact.NOT_IN_NETWORK, Billed.YES),
    "9": (Fact.UNKNOWN, Billed.NO),
}


def changed(table: dict[str, Any], **verify: object) -> dict[str, Any]:
    """The table with other keys in its call."""
    made = copy.deepcopy(table)
    made["verify"].update(verify)
    return made


@pytest.fixture
def ask(httpserver: HTTPServer, transport: Transport) -> Asked:
    """Verify (or check) once against a server that answers ``document``."""

    def asked(
        document: object,
        table: dict[str, Any] = RESELLER,
        *,
        status: int = 200,
        check: Check | None = None,
        since: date | None = None,
    ) -> Answer:
        httpserver.clear()
        httpserver.expect_request(re.compile("/.*")).respond_with_data(
            json.dumps(document), status=status, content_type="application/json"
        )
        provider = generic(httpserver.url_for("").rstrip("/"), transport, table)
        if check is not None:
            number = Number(PERSON.phone, since)
            return provider.check(check, number, "attempt-1", Deadline.after(5))
        return provider.verify(PERSON, "attempt-1", Deadline.after(5))

    return asked


def _result(code: object, **data: object) -> dict[str, Any]:
    return {"code": "0", "requestId": "request-1", "data": {"result": code, **data}}


@pytest.mark.parametrize("code", RESULTS)
def test_a_described_result_has_its_outcome_and_price(code: str, ask: Asked) -> None:
    outcome, detail, billed = RESULTS[code]
    expected = Answer(outcome, detail, billed, code, "request-1", carrier=Lane.CBN, http_status=200)
    assert ask(_result(code, carrier="CBN")) == expected
    assert ask(_result(int(code), carrier="CBN")) == expected  # a number is its digits


@pytest.mark.parametrize("code", ERRORS)
def test_a_described_error_has_its_outcome_and_is_free(code: str, ask: Asked) -> None:
    outcome, detail = ERRORS[code]
    answered = ask({"code": code, "requestId": "request-1", "data": None})
    assert answered == Answer(outcome, detail, Billed.NO, code, "request-1", http_status=200)


def test_every_code_of_the_sandboxs_reseller_is_tested_here() -> None:
    assert RESELLER["verify"]["codes"].keys() == RESULTS.keys()
    assert RESELLER["verify"]["errors"].keys() == ERRORS.keys()
    assert RESELLER["check"]["status"]["codes"].keys() == STATUSES.keys()


@pytest.mark.parametrize("code", STATUSES)
def test_the_answer_to_a_check_is_a_fact(code: str, ask: Asked) -> None:
    fact, billed = STATUSES[code]
    document = {"code": "0", "data": {"status": code}}
    answered = ask(document, check=Check.STATUS)
    assert answered == Answer(Outcome.CHECKED, billed=billed, code=code, http_status=200, fact=fact)


@pytest.mark.parametrize("code", RESELLER["check"]["status"]["errors"])
def test_an_error_of_a_check_is_no_result(code: str, ask: Asked) -> None:
    answered = ask({"code": code}, check=Check.STATUS)
    assert not answered.outcome.is_result or answered.detail == "PARAM"
    assert answered.billed is Billed.NO
    assert (answered.fact is Fact.UNKNOWN) == (code == "2004")


@pytest.mark.parametrize(
    ("document", "fact", "carrier"),
    [
        ({"code": "0", "isp": "1"}, Fact.CARRIER, Lane.CMCC),
        ({"code": 0, "isp": 2}, Fact.CARRIER, Lane.CBN),
        ({"code": "1", "isp": ""}, Fact.UNKNOWN, None),
        ({"code": "0", "isp": "9"}, None, None),
        ({"code": "0"}, None, None),
        ({"code": "2", "isp": "1"}, None, None),
    ],
)
def test_a_carrier_is_named_only_when_it_is_known(
    document: object, fact: Fact | None, carrier: Lane | None, ask: Asked
) -> None:
    answered = ask(document, FORM_RESELLER, check=Check.CARRIER)
    assert (answered.fact, answered.carrier) == (fact, carrier)
    if fact is None:
        assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
        assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize(
    ("document", "fact"),
    [
        ({"same": True}, Fact.SAME_HOLDER),
        ({"same": "false"}, Fact.CHANGED_HANDS),
        ({"same": True, "errno": 404}, Fact.UNKNOWN),  # without success, a listed error goes first
        ({"same": 1}, None),
        ({"errno": 500}, None),
    ],
)
def test_a_check_may_be_answered_by_a_truth_value(
    document: object, fact: Fact | None, ask: Asked
) -> None:
    answered = ask(document, FORM_RESELLER, check=Check.RECYCLED, since=date(2025, 1, 2))
    assert answered.fact is fact


@pytest.mark.parametrize(
    "code",
    ["0", "4", "", "01", "1 ", "１", None, 1.0, 0, -1, True, [], ["1"], {"1": 1}, 10**40, "x" * 99],
)
def test_an_unknown_result_is_no_verdict_and_maybe_billed(code: object, ask: Asked) -> None:
    for check in (None, Check.STATUS):
        answered = ask({"code": "0", "data": {"result": code, "status": "?"}}, check=check)
        assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
        assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("code", ["7777", "", None, 0.0, True, [], {}, "1001 ", "x" * 99, "00"])
def test_an_unknown_error_is_no_verdict_whatever_stands_beside_it(code: object, ask: Asked) -> None:
    answered = ask({**_result("1"), "code": code})
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE
    assert answered.code in (None, "7777", "00", "true")


@pytest.mark.parametrize(
    "document", [None, [], "1", 7, [_result("1")], {"data": "1"}, {"data": []}]
)
def test_an_answer_of_another_shape_is_no_verdict(document: object, ask: Asked) -> None:
    answered = ask(document)
    assert answered.outcome is Outcome.PROVIDER_ERROR
    assert answered.billed is Billed.MAYBE


@pytest.mark.parametrize("status", [201, 202, 400, 403, 404, 422, 500, 502])
def test_only_http_200_says_anything_about_a_person(status: int, ask: Asked) -> None:
    about = [_result("1"), _result("2"), _result("3")]
    about += [{"code": code} for code in ("2001", "2002", "2003", "2004")]
    for document in about:
        answered = ask(document, status=status)
        assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)
    assert ask({"code": "1001"}, status=status).outcome is Outcome.AUTH_CONFIG
    assert ask({"code": "1004"}, status=status).detail == "PARAM"
    fact = ask({"code": "0", "data": {"status": "2"}}, status=status, check=Check.STATUS)
    assert fact.outcome is Outcome.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("status", "outcome", "billed"),
    [
        (407, Outcome.AUTH_CONFIG, Billed.NO),
        (402, Outcome.ARREARS, Billed.NO),
        (418, Outcome.MAINTENANCE, Billed.NO),
        (509, Outcome.PROVIDER_ERROR, Billed.MAYBE),
        (500, Outcome.PROVIDER_ERROR, Billed.MAYBE),  # not described
        (429, Outcome.RATE_LIMITED, Billed.NO),
    ],
)
def test_a_status_means_what_the_table_says_where_the_body_says_nothing(
    status: int, outcome: Outcome, billed: Billed, ask: Asked
) -> None:
    for document in ({}, {"head": {"error": "77"}}, {"head": {"status": "0"}}):
        answered = ask(document, FORM_RESELLER, status=status)
        assert (answered.outcome, answered.billed) == (outcome, billed)
        assert answered.http_status == status
    told = ask({"head": {"error": "59"}}, FORM_RESELLER, status=status)
    assert (told.outcome, told.code) == (Outcome.PROVIDER_ERROR, "59")


@pytest.mark.parametrize(
    ("code", "outcome", "detail", "billed"),
    [
        ("4", Outcome.INVALID_INPUT, "PARAM", Billed.NO),
        ("499", Outcome.INVALID_INPUT, "PARAM", Billed.NO),
        ("41", Outcome.AUTH_CONFIG, None, Billed.NO),
        ("411", Outcome.NUMBER_INACTIVE, "EMPTY", Billed.NO),
        ("500", Outcome.MAINTENANCE, None, Billed.NO),
        ("59", Outcome.PROVIDER_ERROR, None, Billed.MAYBE),
        ("4*", Outcome.INVALID_INPUT, "PARAM", Billed.NO),
        ("3", Outcome.PROVIDER_ERROR, "UNKNOWN_CODE", Billed.MAYBE),
    ],
)
def test_an_error_is_found_exactly_and_then_by_its_longest_beginning(
    code: str, outcome: Outcome, detail: str | None, billed: Billed, ask: Asked
) -> None:
    answered = ask({"head": {"status": "1", "error": code}}, FORM_RESELLER)
    assert (answered.outcome, answered.detail, answered.billed) == (outcome, detail, billed)


def test_the_longer_beginning_goes_before_the_shorter(ask: Asked) -> None:
    errors = {"4*": "INVALID_INPUT/PARAM", "40*": "AUTH_CONFIG", "400*": "ARREARS"}
    table = changed(FORM_RESELLER, errors=errors, errors_billed={})
    told = {
        code: ask({"head": {"error": code}}, table).outcome for code in ("4", "41", "40", "4009")
    }
    assert told == {
        "4": Outcome.INVALID_INPUT,
        "41": Outcome.INVALID_INPUT,
        "40": Outcome.AUTH_CONFIG,
        "4009": Outcome.ARREARS,
    }


@pytest.mark.parametrize(
    ("meaning", "billed"),
    [
        ("MATCHED", Billed.YES),
        ("MISMATCHED/NAME", Billed.YES),
        ("TIMEOUT", Billed.MAYBE),  # the vendor itself does not know what its source did
        ("PROVIDER_ERROR", Billed.NO),
        ("NUMBER_INACTIVE/EMPTY", Billed.NO),
        ("CONSENT_MISSING", Billed.NO),
    ],
)
def test_matches_and_mismatches_are_billed_unless_the_table_says_otherwise(
    meaning: str, billed: Billed, ask: Asked
) -> None:
    table = changed(RESELLER, codes={"1": "MATCHED", "2": "MISMATCHED", "8": meaning}, billed={})
    assert ask(_result("8"), table).billed is billed
    for said in Billed:
        table["verify"]["billed"] = {"8": said.value}
        assert ask(_result("8"), table).billed is said


@pytest.mark.parametrize(
    ("verdict", "outcome", "billed"),
    [
        ("一致", Outcome.MATCHED, Billed.YES),
        ("不一致", Outcome.MISMATCHED, Billed.YES),
        ("查无", Outcome.NO_RECORD, Billed.YES),  # this one bills it, the table says
        ("不一", Outcome.PROVIDER_ERROR, Billed.MAYBE),
    ],
)
def test_a_code_may_be_in_chinese_and_is_not_stored_then(
    verdict: str, outcome: Outcome, billed: Billed, ask: Asked
) -> None:
    payload = [{"verdict": verdict, "isp": "联通"}, {"verdict": "一致"}]
    answered = ask({"head": {"status": "00", "seq": 42}, "payload": payload}, FORM_RESELLER)
    assert (answered.outcome, answered.billed) == (outcome, billed)
    assert (answered.code, answered.request_id) == (None, "42")
    assert answered.carrier is (Lane.CUCC if outcome.is_result else None)


@pytest.mark.parametrize(
    ("detail", "word"),
    [("name", "NAME"), ("idCard", "ID"), ("both", "NAME_AND_ID"), ("new", None), (None, None)],
)
def test_a_mismatch_is_refined_where_the_vendor_says_which(
    detail: object, word: str | None, ask: Asked
) -> None:
    assert ask(_result("2", detail=detail)).detail == (word or "UNSPECIFIED")
    assert ask(_result("1", detail=detail)).detail is None  # a match has no details


@pytest.mark.parametrize(
    ("fee", "billed"),
    [
        (15, Billed.YES),
        (0, Billed.NO),
        ("0.00", Billed.NO),
        ("0.15", Billed.YES),
        (0.0, Billed.NO),
        (True, Billed.YES),
        (False, Billed.NO),
        (10**40, Billed.YES),
        (None, Billed.YES),
        (-1, Billed.YES),
        ("", Billed.YES),
        ("x", Billed.YES),
        ([], Billed.YES),
        (float("nan"), Billed.YES),
    ],
)
def test_the_vendors_own_price_decides_what_is_billed(
    fee: object, billed: Billed, ask: Asked
) -> None:
    assert ask(_result("1", fee=fee)).billed is billed
    assert ask(_result("77", fee=0)).billed is Billed.MAYBE  # not understood: the fee neither


def test_an_answer_that_is_too_long_is_not_read(transport: Transport) -> None:
    table = {**RESELLER, "max_body": 1000}
    body = json.dumps({**_result("1"), "filler": "x" * 1000}).encode()
    for reply, outcome in (
        (answer(body), Outcome.PROVIDER_ERROR),
        (answer(json.dumps(_result("1")).encode()), Outcome.MATCHED),
    ):
        with ScriptedServer(always(reply)) as server:
            provider = generic(server.endpoint, transport, table)
            assert provider.verify(PERSON, "a", Deadline.after(5)).outcome is outcome


def test_a_wait_that_the_vendor_asks_for_is_passed_on(transport: Transport) -> None:
    reply = answer(b'{"code":"1005"}', headers={"Retry-After": "9"})
    with ScriptedServer(always(reply)) as server:
        answered = generic(server.endpoint, transport).verify(PERSON, "a", Deadline.after(5))
    assert (answered.outcome, answered.retry_after) == (Outcome.RATE_LIMITED, 9.0)


def test_the_json_request_is_the_one_described(httpserver: HTTPServer, ask: Asked) -> None:
    with time_machine.travel(MOMENT, tick=False):
        ask(_result("1"))
    [(sent, _)] = httpserver.log
    body = sent.get_json()
    assert (sent.method, sent.path, sent.query_string) == ("POST", VERIFY, b"")
    assert sent.headers["X-App-Key"] == "tests-secret-key"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Accept"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", body["nonce"])
    fields = {
        "mobile": PERSON.phone,
        "name": PERSON.name,
        "idCard": PERSON.id_number,
        "orderNo": "attempt-1",
        "timestamp": "1780245000",
        "nonce": body["nonce"],
    }
    text = (
        f"idCard={PERSON.id_number}&mobile={PERSON.phone}&name={PERSON.name}"
        f"&nonce={body['nonce']}&orderNo=attempt-1&timestamp=1780245000"
    )
    signature = hmac.new(b"tests-secret-secret", text.encode(), "sha256").hexdigest()
    assert body == {**fields, "sign": signature}


def test_the_form_request_is_the_one_described(httpserver: HTTPServer, ask: Asked) -> None:
    with time_machine.travel(MOMENT, tick=False):
        ask({}, FORM_RESELLER)
    [(sent, _)] = httpserver.log
    assert (sent.method, sent.path) == ("POST", "/tel3")
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = dict(sent.form)
    nonce = form["r"]
    assert form == {
        "tel": f"+86{PERSON.phone}",
        "xm": PERSON.name,
        "sfz": PERSON.id_number.lower(),
        "t": "1780245000250",
        "r": nonce,
        "day": "20260601",
        "version": "2",
        "plain": "true",
    }
    text = (
        f"day=20260601&plain=true&r={nonce}&sfz={PERSON.id_number.lower()}&t=1780245000250"
        f"&tel=+86{PERSON.phone}&version=2&xm={PERSON.name}&key=tests-secret-key"
    )
    assert sent.headers["X-Sign"] == hashlib.md5(text.encode()).hexdigest().upper()  # noqa: S324


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (
            {"algorithm": "hmac_sha1", "key": "app_secret", "encoding": "base64"},
            lambda text, body: base64.b64encode(hmac.digest(b"tests-secret-secret", text, "sha1")),
        ),
        (
            {"algorithm": "sha256", "over": "{{ secret.app_secret }}{{ body }}"},
            lambda text, body: hashlib.sha256(b"tests-secret-secret" + body).hexdigest().encode(),
        ),
        (
            {"algorithm": "hmac_sha256", "key": "app_secret", "equals": "", "separator": ""},
            lambda text, body: (
                hmac.new(
                    b"tests-secret-secret", text.replace(b"=", b"").replace(b"&", b""), "sha256"
                )
                .hexdigest()
                .encode()
            ),
        ),
        (
            {"algorithm": "sha1", "over": "{{ timestamp }}{{ nonce }}{{ secret.app_key }}"},
            None,
        ),
    ],
)
@pytest.mark.parametrize("place", ["header", "query"])
def test_a_signature_covers_what_it_is_told_and_goes_where_it_is_told(
    signature: dict[str, str],
    expected: Callable[[bytes, bytes], bytes] | None,
    place: str,
    httpserver: HTTPServer,
    ask: Asked,
) -> None:
    table = changed(RESELLER, signature={**signature, "place": place, "name": "X-Sign"})
    assert ask(_result("1"), table).outcome is Outcome.MATCHED
    [(sent, _)] = httpserver.log
    given = sent.headers["X-Sign"] if place == "header" else sent.args["X-Sign"]
    body = sent.get_json()
    assert "sign" not in body
    if expected is None:
        text = f"{body['timestamp']}{body['nonce']}tests-secret-key"  # one time, one nonce a call
        assert given == hashlib.sha1(text.encode()).hexdigest()  # noqa: S324
        return
    joined = "&".join(f"{name}={body[name]}" for name in sorted(body))
    assert given.encode() == expected(joined.encode(), sent.data)


def test_a_post_without_a_body_sends_none(httpserver: HTTPServer, ask: Asked) -> None:
    query = {"p": "{{ phone }}", "n": "{{ name }}", "i": "{{ id_number }}"}
    table = changed(RESELLER, body={}, query=query, allow_personal_data_in_url=True)
    table["verify"].pop("signature")
    assert ask(_result("1"), table).outcome is Outcome.MATCHED
    [(sent, _)] = httpserver.log
    assert dict(sent.args) == {"p": PERSON.phone, "n": PERSON.name, "i": PERSON.id_number}
    assert sent.data == b""
    assert "Content-Type" not in sent.headers


def test_a_header_of_the_table_goes_before_our_own(httpserver: HTTPServer, ask: Asked) -> None:
    headers = {
        "content-type": "application/json; charset=utf-8",
        "ACCEPT": "*/*",
        "X-Name": "{{ name | urlencode }}",
        "Authorization": "APPCODE {{ secret.app_key }}",
    }
    ask(_result("1"), changed(RESELLER, headers=headers))
    [(sent, _)] = httpserver.log
    assert sent.headers.getlist("Content-Type") == ["application/json; charset=utf-8"]
    assert sent.headers.getlist("Accept") == ["*/*"]
    assert sent.headers["Authorization"] == "APPCODE tests-secret-key"


def test_a_recycled_check_without_a_day_is_not_sent(httpserver: HTTPServer, ask: Asked) -> None:
    answered = ask({"same": True}, FORM_RESELLER, check=Check.RECYCLED)
    assert (answered.outcome, answered.detail) == (Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []


def test_a_check_that_is_not_described_is_not_sent(httpserver: HTTPServer, ask: Asked) -> None:
    answered = ask({}, check=Check.CARRIER)
    assert answered == Answer(Outcome.INVALID_INPUT, "PARAM")
    without_verify = {key: value for key, value in FORM_RESELLER.items() if key != "verify"}
    assert ask({}, {**without_verify, "lanes": []}) == Answer(Outcome.INVALID_INPUT, "PARAM")
    assert httpserver.log == []


def _probed(httpserver: HTTPServer, transport: Transport, document: object) -> tuple[bool, Answer]:
    httpserver.expect_request(VERIFY).respond_with_json(document)
    provider = generic(httpserver.url_for("").rstrip("/"), transport)
    probe = provider.probe(Deadline.after(5))
    return probe.works, probe.answer


def test_a_probe_is_one_free_call_about_nobody(
    httpserver: HTTPServer, transport: Transport
) -> None:
    works, answered = _probed(httpserver, transport, {"code": "2001"})
    assert works
    assert answered.billed is Billed.NO
    [(sent, _)] = httpserver.log
    assert sent.get_json()["mobile"] == "10000000000"


@pytest.mark.parametrize("document", [{"code": "1002"}, _result("1"), {}, {"code": "7777"}])
def test_a_probe_that_is_answered_otherwise_does_not_work(
    document: object, httpserver: HTTPServer, transport: Transport
) -> None:
    assert not _probed(httpserver, transport, document)[0]


def test_a_probe_that_is_not_described_makes_no_call(
    httpserver: HTTPServer, transport: Transport
) -> None:
    provider = generic(httpserver.url_for("").rstrip("/"), transport, FORM_RESELLER)
    probe = provider.probe(Deadline.after(5))
    assert probe.answer == Answer(Outcome.NOT_SENT, "PROBE_NOT_DESCRIBED")
    assert not probe.works
    assert "not describe" in probe.asked
    assert httpserver.log == []


def test_a_provider_is_built_from_its_table_and_its_secrets(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k")
    monkeypatch.setenv("SECRET", "s")
    settings = Settings.model_validate(RESELLER)
    built = settings.build("shop", transport)
    assert isinstance(built, Generic)
    assert (built.name, built.kind) == ("shop", "generic")
    assert built.checks == frozenset({Check.STATUS})
    assert built.lanes == frozenset(Lane)
    assert settings.vendor == "reseller"
    assert settings.secrets() == ("env:KEY", "env:SECRET")
    host = Settings.model_validate(FORM_RESELLER)
    assert host.vendor == "api.other.example.com"
