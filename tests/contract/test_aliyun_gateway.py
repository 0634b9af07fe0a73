"""What stands before both of Alibaba Cloud's products: refusals, nonces, and silence about URLs."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import date
from email.parser import BytesHeaderParser
from hashlib import md5, sha256

import pytest
from pytest_httpserver import HTTPServer

from tests.contract.cases import PROVIDERS
from tests.contract.cases.common import PERSON, ProviderCase
from tests.contract.faults import FAULTS
from tests.transport.scripted import Peer, ScriptedServer, always, answer, refusing_url
from verifier.carriers.base import Answer, Number
from verifier.outcomes import Billed, Check, Fact, Lane, Outcome, code_table
from verifier.transport import Deadline, Transport, TransportFault
from verifier.transport.reply import identifier_of

CASES = [case for case in PROVIDERS if case.name.startswith("aliyun_")]
FIRST = [
    case
    for case in CASES
    if case.name.endswith((".Mobile3MetaDetailVerify", "dytns.ThreeElementsVerification"))
]
QUESTIONS = [
    (FIRST[0], Check.STATUS),
    (FIRST[0], Check.RECYCLED),
    (FIRST[1], Check.STATUS),
    (FIRST[1], Check.RECYCLED),
    (FIRST[1], Check.CARRIER),
]
NUMBER = Number(PERSON.phone, date(2020, 2, 3))
REFUSALS = {
    "Throttling": (Outcome.RATE_LIMITED, "ACCOUNT_QPS", Billed.NO),
    "Throttling.User": (Outcome.RATE_LIMITED, "ACCOUNT_QPS", Billed.NO),
    "Throttling.Api": (Outcome.RATE_LIMITED, "ACCOUNT_QPS", Billed.NO),
    "ServiceUnavailable": (Outcome.MAINTENANCE, None, Billed.NO),
    "InternalError": (Outcome.PROVIDER_ERROR, None, Billed.NO),
    # Somebody brought this very request before: it may have been served then.
    "SignatureNonceUsed": (Outcome.PROVIDER_ERROR, None, Billed.MAYBE),
    "InvalidTimeStamp.Expired": (Outcome.AUTH_CONFIG, None, Billed.NO),  # our clock is wrong
    "InvalidAccessKeyId": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "InvalidAccessKeyId.NotFound": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "SignatureDoesNotMatch": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "IncompleteSignature": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "Forbidden": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "Forbidden.RAM": (Outcome.AUTH_CONFIG, None, Billed.NO),
    "InsufficientBalance": (Outcome.ARREARS, None, Billed.NO),
    "InvalidParameter": (Outcome.INVALID_INPUT, "PARAM", Billed.NO),
    "MissingMobile": (Outcome.INVALID_INPUT, "PARAM", Billed.NO),
}
every_case = pytest.mark.parametrize("case", CASES, ids=str)
both_products = pytest.mark.parametrize("case", FIRST, ids=str)
every_check = pytest.mark.parametrize(
    ("case", "which"), QUESTIONS, ids=[f"{case}-{which}" for case, which in QUESTIONS]
)


def refusal(code: object) -> bytes:
    document = {"Code": code, "Message": "m", "RequestId": "request-1", "HostId": "host"}
    return json.dumps(document).encode()


def ask(
    case: ProviderCase, body: bytes, status: int, httpserver: HTTPServer, transport: Transport
) -> Answer:
    httpserver.expect_request("/").respond_with_data(body, status=status)
    provider = case.build(httpserver.url_for("").rstrip("/"), transport)
    return provider.verify(PERSON, "attempt-1", Deadline.after(5))


@every_case
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_of_the_gateway_has_its_outcome_and_price(
    code: str, case: ProviderCase, httpserver: HTTPServer, transport: Transport
) -> None:
    outcome, detail, billed = REFUSALS[code]
    for status in (400, 403, 500, 503):
        assert ask(case, refusal(code), status, httpserver, transport) == Answer(
            outcome, detail, billed, code, "request-1", http_status=status
        )
        httpserver.clear()


def test_every_refusal_of_the_outcome_map_is_tested_here() -> None:
    declared = {code for code, _ in code_table("aliyun.gateway.error").items()}
    assert declared - {"UnretryableException"} <= set(REFUSALS)


@both_products
@pytest.mark.parametrize("code", ["UnretryableException", "NeverHeardOf", "Throttling2", 7, None])
def test_an_unknown_refusal_is_an_error_and_maybe_billed(
    code: object, case: ProviderCase, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(case, refusal(code), 400, httpserver, transport)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)
    assert answered.code == (code if isinstance(code, str) else None)


@both_products
def test_an_unknown_refusal_in_a_status_that_says_enough_is_told_by_the_status(
    case: ProviderCase, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(case, refusal("NeverHeardOf"), 429, httpserver, transport)
    assert (answered.outcome, answered.billed) == (Outcome.RATE_LIMITED, Billed.NO)


@both_products
@pytest.mark.parametrize("code", ["Throttling.User", "ServiceUnavailable", "Forbidden.RAM"])
def test_a_refusal_in_http_200_is_not_the_gateways(
    code: str, case: ProviderCase, httpserver: HTTPServer, transport: Transport
) -> None:
    answered = ask(case, refusal(code), 200, httpserver, transport)
    assert (answered.outcome, answered.detail) == (Outcome.PROVIDER_ERROR, "UNKNOWN_CODE")
    assert answered.billed is Billed.MAYBE


@every_case
def test_every_call_has_a_nonce_of_its_own_also_after_a_blip(
    case: ProviderCase, transport: Transport
) -> None:
    scripts = iter([Peer.reset, Peer.reset])

    def script(peer: Peer) -> None:
        while peer.read_request():
            blip = next(scripts, None)
            if blip is not None:
                return blip(peer)
            peer.send(answer(case.matched))
        return None

    with ScriptedServer(script) as server:
        provider = case.build(server.endpoint, transport)
        outcomes = [provider.verify(PERSON, "a", Deadline.after(5)).outcome for _ in range(5)]
        requests = server.received
    assert outcomes == [Outcome.TIMEOUT] * 2 + [Outcome.MATCHED] * 3
    heads = [BytesHeaderParser().parsebytes(r.partition(b"\r\n")[2]) for r in requests]
    for name in ("x-acs-signature-nonce", "Authorization"):
        assert len({head[name] for head in heads}) == 5


@every_check
def test_a_vetoed_check_is_not_sent(case: ProviderCase, which: Check, transport: Transport) -> None:
    with ScriptedServer(always(answer(case.checked))) as server:
        provider = case.build(server.endpoint, transport)
        answered = provider.check(which, NUMBER, "a", Deadline.after(5), lambda: False)
        assert answered == Answer(Outcome.NOT_SENT, "VETOED")
        assert server.received == []


@every_case
def test_a_check_of_the_case_is_answered(case: ProviderCase, transport: Transport) -> None:
    assert case.check is not None
    with ScriptedServer(always(answer(case.checked))) as server:
        provider = case.build(server.endpoint, transport)
        answered = provider.check(case.check, NUMBER, "a", Deadline.after(5))
    assert (answered.outcome, answered.carrier) == (Outcome.CHECKED, Lane.CMCC)
    assert answered.fact in {Fact.ACTIVE, Fact.CARRIER}


def _traces() -> list[str]:
    """Everything that would betray a person, or our authorization code, in a log."""
    found = ["tests-auth-code", "InputNumber", "IdentifyNum", "Mobile=", "AuthCode"]
    for value in (PERSON.phone, PERSON.name, PERSON.id_number):
        data = value.encode()
        found += [value, sha256(data).hexdigest()]
        found += [md5(data).hexdigest()]  # noqa: S324
    return found


@every_case
def test_no_url_is_logged_or_answered_also_with_everything_at_debug(
    case: ProviderCase, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    names = {"close", "reset", "hang", "cut_body", "garbage", "html", "http_500", "redirect"}
    scripts = [fault.script for fault in FAULTS if fault.name in names]
    bad_header = b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\n{}"
    scripts += [always(bad_header), always(answer(case.matched))]
    for name in ("", "urllib3", "urllib3.connectionpool", "urllib3.connection", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    answers = [
        case.build(refusing_url().rstrip("/"), transport).verify(PERSON, "a", Deadline.after(5))
    ]
    for script in scripts:
        with ScriptedServer(script) as server:
            provider = case.build(server.endpoint, transport)
            answers.append(provider.verify(PERSON, "a", Deadline.after(0.3)))
            answers += [
                provider.check(c, NUMBER, "a", Deadline.after(0.3)) for c in provider.checks
            ]
    seen = repr(answers) + caplog.text + "".join(str(record.args) for record in caplog.records)
    assert [trace for trace in _traces() if trace in seen] == []


def test_no_exception_of_the_transport_quotes_the_url(transport: Transport) -> None:
    def reset(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    query = "?InputNumber=" + sha256(PERSON.phone.encode()).hexdigest()
    with ScriptedServer(reset) as server:
        for url in (server.url, refusing_url()):
            with pytest.raises(TransportFault) as raised:
                transport.request("POST", url + query, {}, b"", Deadline.after(5))
            text = "".join(traceback.format_exception(raised.value))
            assert query[13:] not in text + repr(raised.value) + repr(raised.value.__context__)


@pytest.mark.parametrize("value", [PERSON.phone, [PERSON.phone], {"a": 1}, True, None, 1e300])
@both_products
def test_a_request_id_that_quotes_a_person_is_not_kept(
    case: ProviderCase, value: object, httpserver: HTTPServer, transport: Transport
) -> None:
    body = json.dumps({**json.loads(case.matched), "RequestId": value}).encode()
    answered = ask(case, body, 200, httpserver, transport)
    assert answered.outcome is Outcome.MATCHED
    assert answered.request_id == identifier_of(value) is None
