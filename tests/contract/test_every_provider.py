"""What every provider promises, whatever the other side does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import unquote_plus

import pytest

from tests.contract.cases import PROVIDERS
from tests.contract.cases.common import NUMBER, PERSON, SECRETS, ProviderCase
from tests.contract.faults import FAULTS, TIME, Fault
from tests.transport.certificates import Certificates
from tests.transport.scripted import SLACK, Peer, ScriptedServer, always, answer, refusing_url
from verifier.carriers.base import Answer
from verifier.outcomes import Billed, Check, Outcome
from verifier.transport import Deadline, Transport

every_provider = pytest.mark.parametrize("case", PROVIDERS, ids=str)
every_checking_provider = pytest.mark.parametrize(
    "case", [c for c in PROVIDERS if c.check], ids=str
)
every_probed_provider = pytest.mark.parametrize("case", [c for c in PROVIDERS if c.probed], ids=str)
#: What may come of a check that was not understood, or not answered.
NOT_ANSWERED = {Outcome.TIMEOUT, Outcome.PROVIDER_ERROR}


def _verify(case: ProviderCase, endpoint: str, transport: Transport, seconds: float = 5) -> Answer:
    provider = case.build(endpoint, transport)
    started = time.monotonic()
    answered = provider.verify(PERSON, "attempt-1", Deadline.after(seconds))
    assert time.monotonic() - started < seconds + SLACK
    return answered


def _check(case: ProviderCase, endpoint: str, transport: Transport, seconds: float = 5) -> Answer:
    provider = case.build(endpoint, transport)
    assert case.check is not None
    assert case.check in provider.checks
    started = time.monotonic()
    answered = provider.check(case.check, NUMBER, "attempt-1", Deadline.after(seconds))
    assert time.monotonic() - started < seconds + SLACK
    return answered


@every_provider
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_after_sending_is_no_verdict_and_maybe_billed(
    fault: Fault, case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(fault.script) as server:
        answered = _verify(case, server.endpoint, transport, fault.seconds)
        assert answered.outcome is (Outcome.PROVIDER_ERROR if fault.answered else Outcome.TIMEOUT)
        assert answered.billed is Billed.MAYBE
        assert len(server.received) == 1


@every_provider
def test_an_answer_is_read_over_tls(
    case: ProviderCase, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(always(answer(case.matched)), certificates.server) as server:
        assert _verify(case, server.endpoint, transport).outcome is Outcome.MATCHED


@every_provider
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "text/plain", "text/html", "x"],
)
def test_the_content_type_does_not_matter(
    content_type: str, case: ProviderCase, transport: Transport
) -> None:
    reply = answer(case.matched, headers={"Content-Type": content_type})
    with ScriptedServer(always(reply)) as server:
        assert _verify(case, server.endpoint, transport).outcome is Outcome.MATCHED


@every_provider
@pytest.mark.parametrize("charset", ["gbk", "GB2312", '"gb18030"'])
def test_an_answer_in_a_declared_chinese_charset_is_read(
    charset: str, case: ProviderCase, transport: Transport
) -> None:
    body = json.dumps(json.loads(case.matched), ensure_ascii=False).encode("gbk")
    reply = answer(body, headers={"Content-Type": f"application/json; charset={charset}"})
    with ScriptedServer(always(reply)) as server:
        answered = _verify(case, server.endpoint, transport)
    assert (answered.outcome, answered.carrier) == (Outcome.MATCHED, case.carrier)


@every_provider
def test_a_refused_connection_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    answered = _verify(case, refusing_url().rstrip("/"), transport)
    assert answered == Answer(Outcome.NOT_SENT, "REFUSED", billed=Billed.NO)


@every_provider
def test_an_unknown_host_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    answered = _verify(case, "http://no-such-host.invalid", transport)
    assert answered == Answer(Outcome.NOT_SENT, "DNS", billed=Billed.NO)


@every_provider
def test_a_certificate_that_does_not_hold_is_not_sent(
    case: ProviderCase, certificates: Certificates
) -> None:
    transport = Transport(threads=1, connect_timeout=1)
    with ScriptedServer(always(answer(case.matched)), certificates.server) as server:
        answered = _verify(case, server.endpoint, transport)
        assert answered == Answer(Outcome.NOT_SENT, "TLS", billed=Billed.NO)
        assert server.received == []
    transport.close()


@every_provider
def test_a_handshake_that_hangs_is_not_sent(
    case: ProviderCase, transport: Transport, certificates: Certificates
) -> None:
    with ScriptedServer(Peer.hang, certificates.server, raw=True) as server:
        answered = _verify(case, server.endpoint, transport, TIME)
    assert answered.outcome is Outcome.NOT_SENT
    assert answered.billed is Billed.NO


@every_provider
def test_a_deadline_already_past_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    with ScriptedServer(always(answer(case.matched))) as server:
        answered = _verify(case, server.endpoint, transport, 0)
        assert (answered.outcome, answered.billed) == (Outcome.NOT_SENT, Billed.NO)
        assert answered.detail in {"DEADLINE", "TOKEN_DEADLINE"}
        assert server.connections == 0


@every_provider
def test_a_veto_before_sending_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    with ScriptedServer(always(answer(case.matched))) as server:
        provider = case.build(server.endpoint, transport)
        answered = provider.verify(PERSON, "attempt-1", Deadline.after(5), lambda: False)
        assert answered == Answer(Outcome.NOT_SENT, "VETOED", billed=Billed.NO)
        assert server.received == []


@every_provider
def test_too_many_requests_are_rate_limited_and_free(
    case: ProviderCase, transport: Transport
) -> None:
    reply = answer(b"", "429 Too Many Requests", {"Retry-After": "7"})
    with ScriptedServer(always(reply)) as server:
        answered = _verify(case, server.endpoint, transport)
    assert (answered.outcome, answered.detail) == (Outcome.RATE_LIMITED, "ACCOUNT_QPS")
    assert (answered.billed, answered.retry_after) == (Billed.NO, 7.0)


@every_provider
def test_unavailable_with_a_time_to_come_back_is_maintenance(
    case: ProviderCase, transport: Transport
) -> None:
    reply = answer(b"", "503 Service Unavailable", {"Retry-After": "600"})
    with ScriptedServer(always(reply)) as server:
        answered = _verify(case, server.endpoint, transport)
    assert answered.outcome is Outcome.MAINTENANCE
    assert (answered.billed, answered.retry_after) == (Billed.NO, 600.0)


@every_provider
@pytest.mark.parametrize("status", ["400 Bad", "401 Un", "403 No", "404 Not", "413 Big", "451 Law"])
def test_a_refusal_without_a_body_is_never_a_verdict(
    status: str, case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(b"", status))) as server:
        answered = _verify(case, server.endpoint, transport)
    assert answered.outcome is Outcome.PROVIDER_ERROR
    assert answered.http_status == int(status[:3])


@every_provider
def test_a_matching_body_in_another_status_is_no_match(
    case: ProviderCase, transport: Transport
) -> None:
    for status in ("500 Internal Server Error", "202 Accepted", "404 Not Found"):
        with ScriptedServer(always(answer(case.matched, status))) as server:
            answered = _verify(case, server.endpoint, transport)
        assert answered.outcome is Outcome.PROVIDER_ERROR


@every_provider
def test_sixteen_threads_use_one_provider(case: ProviderCase, transport: Transport) -> None:
    outcomes: list[Outcome] = []
    with ScriptedServer(always(answer(case.matched))) as server:
        provider = case.build(server.endpoint, transport)

        def work() -> None:
            for _ in range(5):
                outcomes.append(provider.verify(PERSON, "a", Deadline.after(10)).outcome)  # noqa: PERF401

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [Outcome.MATCHED] * 80
        assert server.connections <= 16


@every_provider
def test_nothing_personal_is_logged_answered_or_put_into_the_url(
    case: ProviderCase, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"bad {PERSON.phone} {PERSON.name}".encode()
    scripts = [fault.script for fault in FAULTS if fault.name in {"reset", "garbage", "cut_body"}]
    scripts += [always(answer(case.matched)), always(answer(echo, "400 Bad Request"))]
    with caplog.at_level("DEBUG"):
        for script in scripts:
            with ScriptedServer(script) as server:
                answered = _verify(case, server.endpoint, transport)
            request_line, _, _ = server.received[0].partition(b"\r\n")
            url = request_line.decode() + unquote_plus(request_line.decode())
            seen = repr(answered) + url + repr(PERSON) + caplog.text
            assert not [secret for secret in SECRETS if secret in seen]


@every_provider
def test_an_answer_that_quotes_our_input_as_a_code_is_not_repeated(
    case: ProviderCase, transport: Transport
) -> None:
    quoting = case.matched.replace(case.code, f'"phone {PERSON.phone} unknown"'.encode())
    with ScriptedServer(always(answer(quoting))) as server:
        answered = _verify(case, server.endpoint, transport)
    assert answered.outcome is Outcome.PROVIDER_ERROR
    assert PERSON.phone not in repr(answered)


@every_provider
@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_nobody_is_visited_because_a_redirect_says_so(
    status: str, case: ProviderCase, transport: Transport
) -> None:
    """Personal data and a signature would go where a stranger likes."""
    with ScriptedServer(always(answer(case.matched))) as elsewhere:
        reply = answer(b"", status, {"Location": elsewhere.url})
        with ScriptedServer(always(reply)) as server:
            answered = _verify(case, server.endpoint, transport)
            if case.check:
                assert _check(case, server.endpoint, transport).fact is None
        assert elsewhere.connections == 0
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)


@every_provider
def test_a_huge_answer_is_not_read_to_its_end(case: ProviderCase, transport: Transport) -> None:
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + case.matched)
        for _ in range(256):
            peer.send(b" " * 1_048_576)
            sent.append(1)

    with ScriptedServer(script) as server:
        answered = _verify(case, server.endpoint, transport)
    assert (answered.outcome, answered.billed) == (Outcome.PROVIDER_ERROR, Billed.MAYBE)
    assert len(sent) < 64


@every_checking_provider
def test_an_understood_check_is_a_fact_and_no_result(
    case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(case.checked))) as server:
        answered = _check(case, server.endpoint, transport)
        assert len(server.received) == 1
    assert answered.outcome is Outcome.CHECKED
    assert answered.fact is not None
    assert not answered.outcome.is_result


@every_checking_provider
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_after_a_check_is_sent_is_no_fact_and_maybe_billed(
    fault: Fault, case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(fault.script) as server:
        answered = _check(case, server.endpoint, transport, fault.seconds)
        assert answered.outcome is (Outcome.PROVIDER_ERROR if fault.answered else Outcome.TIMEOUT)
        assert (answered.billed, answered.fact) == (Billed.MAYBE, None)
        assert len(server.received) == 1


@every_checking_provider
def test_a_check_without_a_connection_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    answered = _check(case, refusing_url().rstrip("/"), transport)
    assert answered == Answer(Outcome.NOT_SENT, "REFUSED", billed=Billed.NO)


@every_checking_provider
def test_a_vetoed_check_is_not_sent(case: ProviderCase, transport: Transport) -> None:
    assert case.check is not None
    with ScriptedServer(always(answer(case.checked))) as server:
        provider = case.build(server.endpoint, transport)
        answered = provider.check(case.check, NUMBER, "a", Deadline.after(5), lambda: False)
        assert answered == Answer(Outcome.NOT_SENT, "VETOED", billed=Billed.NO)
        assert server.received == []


@every_provider
def test_a_check_that_is_not_offered_is_refused_without_a_call(
    case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(case.checked))) as server:
        provider = case.build(server.endpoint, transport)
        for check in set(Check) - provider.checks:
            answered = provider.check(check, NUMBER, "a", Deadline.after(5))
            assert (answered.outcome, answered.detail) == (Outcome.INVALID_INPUT, "PARAM")
            assert (answered.billed, answered.fact) == (Billed.NO, None)
        assert server.connections == 0


@every_checking_provider
def test_a_check_is_answered_in_http_200_only(case: ProviderCase, transport: Transport) -> None:
    for status in ("500 Internal Server Error", "202 Accepted", "404 Not Found"):
        with ScriptedServer(always(answer(case.checked, status))) as server:
            answered = _check(case, server.endpoint, transport)
        assert answered.outcome is Outcome.PROVIDER_ERROR
        assert answered.fact is None


@every_checking_provider
@pytest.mark.parametrize("value", [None, True, -1, 1.5, 10**40, "", "x" * 5000, [], {}, [[{}]]])
def test_no_value_in_place_of_a_documented_one_makes_a_check_a_result(
    value: object, case: ProviderCase, transport: Transport
) -> None:
    """Every leaf of the good answer in turn, but for the request's id and words for people."""
    for body in _with_each_leaf(json.loads(case.checked), value):
        with ScriptedServer(always(answer(json.dumps(body).encode()))) as server:
            answered = _check(case, server.endpoint, transport)
        assert not answered.outcome.is_result or answered.detail == "PARAM"
        assert (answered.fact is not None) is (answered.outcome is Outcome.CHECKED)
        if answered.outcome in NOT_ANSWERED:
            assert answered.billed is Billed.MAYBE


def _with_each_leaf(document: object, value: object) -> Iterator[object]:
    """Copies of a JSON document, each with another leaf replaced."""
    if isinstance(document, dict):
        for key, inside in document.items():
            for changed in _with_each_leaf(inside, value):
                yield {**document, key: changed}
    elif isinstance(document, list):
        for number, inside in enumerate(document):
            for changed in _with_each_leaf(inside, value):
                yield [*document[:number], changed, *document[number + 1 :]]
    else:
        yield value


@every_checking_provider
def test_nothing_personal_is_logged_by_a_check_answered_or_put_into_the_url(
    case: ProviderCase, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"bad {PERSON.phone}".encode()
    scripts = [fault.script for fault in FAULTS if fault.name in {"reset", "garbage", "cut_body"}]
    scripts += [always(answer(case.checked)), always(answer(echo, "400 Bad Request"))]
    with caplog.at_level("DEBUG"):
        for script in scripts:
            with ScriptedServer(script) as server:
                answered = _check(case, server.endpoint, transport)
            request_line, _, _ = server.received[0].partition(b"\r\n")
            url = request_line.decode() + unquote_plus(request_line.decode())
            seen = repr(answered) + url + repr(NUMBER) + caplog.text
            assert not [secret for secret in SECRETS if secret in seen]


@every_probed_provider
def test_a_probe_makes_one_request_about_nobody_and_says_what_it_asked(
    case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(b"", "500 Internal Server Error"))) as server:
        probe = case.build(server.endpoint, transport).probe(Deadline.after(5))
        assert len(server.received) == 1
    assert len(probe.asked) > 20
    assert not probe.works
    assert probe.answer.outcome is Outcome.PROVIDER_ERROR
    assert not [secret for secret in SECRETS if secret in probe.asked + repr(probe)]


@every_probed_provider
def test_a_probe_that_is_answered_as_documented_works_and_is_free(
    case: ProviderCase, transport: Transport
) -> None:
    with ScriptedServer(always(answer(case.probed, case.probed_status))) as server:
        probe = case.build(server.endpoint, transport).probe(Deadline.after(5))
        assert len(server.received) == 1
    assert probe.works
    assert probe.answer.billed is Billed.NO


@every_provider
def test_a_probe_of_what_is_not_there_does_not_work(
    case: ProviderCase, transport: Transport
) -> None:
    probe = case.build(refusing_url().rstrip("/"), transport).probe(Deadline.after(5))
    assert not probe.works
    assert probe.answer.outcome is Outcome.NOT_SENT
