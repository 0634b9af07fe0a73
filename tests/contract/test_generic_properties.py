"""Whatever a person is called stays in its place, and whatever is answered is an answer."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from tests.contract.cases.common import PERSON
from tests.contract.cases.generic import FORM_RESELLER, RESELLER, generic
from verifier.carriers.base import Person
from verifier.carriers.generic import Settings
from verifier.carriers.generic_answer import Reader
from verifier.carriers.generic_call import Call, said
from verifier.carriers.generic_request import Composer, Request, values
from verifier.outcomes import Billed, Check, Fact, Outcome
from verifier.transport import Deadline, Reply, Transport

TEXT = st.text(max_size=60)
NASTY = st.sampled_from(
    ['"', "\\", '","phone":"1', "&name=x", "=", "%26", "+", "\r\n", "\0", "{{ secret.app_key }}"]
)
ANYTHING = st.one_of(TEXT, st.lists(st.one_of(TEXT, NASTY), max_size=4).map("".join))
SECRETS = {"app_key": "tests-secret-key", "app_secret": "tests-secret-secret"}
HTTP_TESTS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _call(table: dict[str, Any], **changes: object) -> Call:
    read = Settings.model_validate({**table, "verify": {**table["verify"], **changes}})
    assert read.verify is not None
    return read.verify


def _request(call: Call, phone: str, name: str, id_number: str) -> Request:
    composer = Composer("https://a.example", call, SECRETS)
    return composer.compose(
        values(phone=phone, name=name, id_number=id_number, reference="attempt-1")
    )


@settings(max_examples=300, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_in_json_every_text_stays_in_its_field(phone: str, name: str, id_number: str) -> None:
    sent = json.loads(_request(_call(RESELLER), phone, name, id_number).body)
    assert (sent["mobile"], sent["name"], sent["idCard"]) == (phone, name, id_number)
    assert sent.keys() == {"mobile", "name", "idCard", "orderNo", "timestamp", "nonce", "sign"}
    signed = "&".join(f"{key}={sent[key]}" for key in sorted(sent) if key != "sign")
    expected = hmac.new(b"tests-secret-secret", signed.encode(), "sha256").hexdigest()
    assert sent["sign"] == expected


@settings(max_examples=100, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_in_nested_json_too(phone: str, name: str, id_number: str) -> None:
    body = {
        "a": {"b": {"who": "<{{ name }}>", "id": "{{ id_number }}"}, "n": 7},
        "t": "{{ phone }}",
    }
    call = _call(RESELLER, body=body, signature=None)
    sent = json.loads(_request(call, phone, name, id_number).body)
    assert sent == {"a": {"b": {"who": f"<{name}>", "id": id_number}, "n": 7}, "t": phone}


@settings(max_examples=300, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_in_a_form_every_text_stays_in_its_field(phone: str, name: str, id_number: str) -> None:
    request = _request(_call(FORM_RESELLER), phone, name, id_number)
    pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    sent = dict(pairs)
    assert len(pairs) == len(sent) == 8
    assert (sent["tel"], sent["xm"], sent["sfz"]) == (f"+86{phone}", name, id_number.lower())
    assert (sent["version"], sent["plain"]) == ("2", "true")
    text = "&".join(f"{key}={sent[key]}" for key in sorted(sent)) + "&key=tests-secret-key"
    assert request.headers["X-Sign"] == hashlib.md5(text.encode()).hexdigest().upper()  # noqa: S324


@settings(max_examples=300, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_in_a_query_every_text_stays_in_its_place(phone: str, name: str, id_number: str) -> None:
    call = _call(
        RESELLER,
        method="GET",
        allow_personal_data_in_url=True,
        body={},
        signature=None,
        query={"p": "{{ phone }}", "n": "{{ name }}", "i": "{{ id_number }}", "a b&": "="},
    )
    request = _request(call, phone, name, id_number)
    parts = urlsplit(request.url)
    assert request.url.isascii()
    assert (parts.netloc, parts.path) == ("a.example", "/reseller/v1/three-elements")
    assert request.body == b""
    sent = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    assert sent == [("p", phone), ("n", name), ("i", id_number), ("a b&", "=")]


@pytest.fixture
def answering(httpserver: HTTPServer) -> Iterator[HTTPServer]:
    matched = {"code": "0", "data": {"result": "1"}, "head": {"status": "0"}}
    httpserver.expect_request("/reseller/v1/three-elements").respond_with_json(matched)
    form = {"head": {"status": "0"}, "payload": [{"verdict": "一致"}]}
    httpserver.expect_request("/tel3").respond_with_json(form)
    yield httpserver
    httpserver.clear()


@HTTP_TESTS
@given(ANYTHING, ANYTHING, ANYTHING)
def test_a_server_reads_what_was_meant(
    answering: HTTPServer, transport: Transport, phone: str, name: str, id_number: str
) -> None:
    person = Person(phone, name, id_number)
    for table in (RESELLER, FORM_RESELLER):
        provider = generic(answering.url_for("").rstrip("/"), transport, table)
        answer = provider.verify(person, "attempt-1", Deadline.after(5))
        assert answer.outcome is Outcome.MATCHED
        sent, _ = answering.log[-1]
        if table is RESELLER:
            read = sent.get_json()
            assert (read["mobile"], read["name"], read["idCard"]) == (phone, name, id_number)
        else:
            assert sent.form["tel"] == f"+86{phone}"
            assert (sent.form["xm"], sent.form["sfz"]) == (name, id_number.lower())


@pytest.mark.parametrize("table", [RESELLER, FORM_RESELLER], ids=["json", "form"])
@pytest.mark.parametrize("place", ["phone", "name", "id_number"])
def test_text_without_an_encoding_is_answered_and_not_sent(
    place: str, table: dict[str, Any], answering: HTTPServer, transport: Transport
) -> None:
    texts = {"phone": PERSON.phone, "name": PERSON.name, "id_number": PERSON.id_number}
    person = Person(**{**texts, place: "\ud800"})
    provider = generic(answering.url_for("").rstrip("/"), transport, table)
    answer = provider.verify(person, "attempt-1", Deadline.after(5))
    assert (answer.outcome, answer.detail) == (Outcome.INVALID_INPUT, "PARAM")
    assert answer.billed is Billed.NO
    assert answering.log == []


def test_a_reference_that_would_break_out_of_a_header_is_answered_and_not_sent(
    answering: HTTPServer, transport: Transport
) -> None:
    table = copy.deepcopy(RESELLER)
    table["verify"]["headers"]["X-Reference"] = "{{ reference }}"
    provider = generic(answering.url_for("").rstrip("/"), transport, table)
    for reference in ("a\r\nX-Evil: 1", "a\nb", "\0", "王", "\ud800"):
        answer = provider.verify(PERSON, reference, Deadline.after(5))
        assert (answer.outcome, answer.detail) == (Outcome.INVALID_INPUT, "PARAM")
    assert answering.log == []
    assert provider.verify(PERSON, "a", Deadline.after(5)).outcome is Outcome.MATCHED


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30, max_value=10**40),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["0", "1", "2", "一致", "411", "41x", "1001", "true", "CMCC", 0, 1, 411]),
)
NAMES = st.sampled_from(
    [
        *("code", "data", "result", "detail", "carrier", "fee", "requestId", "head", "status"),
        *("error", "payload", "verdict", "isp", "seq", "same", "errno"),
    ]
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, TEXT), inner, max_size=6)
    ),
    max_leaves=20,
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 400, 401, 402, 407, 418, 429, 500, 503, 509])


def _read(table: dict[str, Any], check: Check | None, reply: Reply) -> Any:
    described = Settings.model_validate(table)
    call = described.verify if check is None else described.check[check]
    assert call is not None
    return Reader(call, check, 64 * 1024).read(reply)


@settings(max_examples=600, deadline=None)
@given(DOCUMENTS, STATUSES)
def test_no_answer_raises_and_none_is_believed_that_is_not_documented(
    document: Any, status: int
) -> None:
    reply = Reply(status, {}, json.dumps(document).encode())
    for table in (RESELLER, FORM_RESELLER):
        answer = _read(table, None, reply)
        assert answer.outcome not in (Outcome.CHECKED, Outcome.NOT_SENT)
        documented = {
            text
            for name in ("codes", "errors", "http")
            for text in table["verify"].get(name, {}).values()
        }
        known = {said(text, None).outcome for text in documented}
        assert answer.outcome in known | {Outcome.PROVIDER_ERROR, Outcome.RATE_LIMITED}
        if status != 200:
            assert not answer.outcome.is_result or answer.detail == "PARAM"
        for check in (Check(name) for name in table["checks"]):
            answer = _read(table, check, reply)
            assert not answer.outcome.is_result or answer.detail == "PARAM"
            assert (answer.fact is not None) == (answer.outcome is Outcome.CHECKED)
            if answer.fact is Fact.CARRIER:
                assert answer.carrier is not None
            if status != 200:
                assert answer.outcome is not Outcome.CHECKED


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), STATUSES)
def test_no_bytes_raise(body: bytes, status: int) -> None:
    for check in (None, Check.STATUS):
        assert not _read(RESELLER, check, Reply(status, {}, body)).outcome.is_result


@given(st.dates(), TEXT)
def test_the_day_of_a_check_is_written_both_ways(since: date, phone: str) -> None:
    call = Settings.model_validate(FORM_RESELLER).check[Check.RECYCLED]
    composer = Composer("https://a.example", call, SECRETS)
    request = composer.compose(values(phone=phone, reference="r", since=since))
    sent = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
    assert sent["since"] == since.isoformat()
    assert sent["compact"] == since.isoformat().replace("-", "")
    assert sent["tel"] == hmac.new(b"tests-secret-key", phone.encode(), "sha256").hexdigest()
