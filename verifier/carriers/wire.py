"""From what the wire did to an Answer: once, for every provider.

========================================  ==========================  ========
what happened                             outcome                     billed
========================================  ==========================  ========
nothing was sent                          NOT_SENT/*reason*           no
sent, no complete answer in time          TIMEOUT                     maybe
redirect, oversize, not HTTP              PROVIDER_ERROR/BAD_REPLY    maybe
HTTP 429                                  RATE_LIMITED/ACCOUNT_QPS    no
HTTP 503 with ``Retry-After``             MAINTENANCE                 no
any other answer not understood           PROVIDER_ERROR/BAD_REPLY    maybe
========================================  ==========================  ========

429, and 503 that says when to come back, are refusals by definition (RFC 6585, RFC 9110): the
request was not served. A 503 without ``Retry-After`` is what proxies answer when they have lost the
server behind them, possibly after it had the request, so it stays an error of unknown billing, as
do 500, 502 and 504.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from verifier.carriers.base import Answer
from verifier.outcomes import Billed, Fact, Outcome
from verifier.transport import BadReply, NotSent, Reply, TransportFault, Unanswered


def ask(exchange: Callable[[], Reply]) -> Reply | Answer:
    """Run the exchange; the reply, or the Answer that its failure amounts to."""
    try:
        return exchange()
    except TransportFault as fault:
        return answer_to_fault(fault)


def answer_to_fault(fault: TransportFault) -> Answer:
    match fault:
        case NotSent():
            return Answer(Outcome.NOT_SENT, fault.reason.upper())
        case Unanswered():
            return Answer(Outcome.TIMEOUT, billed=Billed.MAYBE)
        case BadReply():
            return not_understood(fault.status)
        case _:
            return not_understood(None)


def answer_to_status(reply: Reply) -> Answer:
    """For a reply whose body said nothing: what its HTTP status alone says."""
    if reply.status == 429:
        return Answer(
            Outcome.RATE_LIMITED,
            "ACCOUNT_QPS",
            http_status=reply.status,
            retry_after=reply.retry_after(),
        )
    wait = reply.retry_after()
    if reply.status == 503 and wait is not None:
        return Answer(Outcome.MAINTENANCE, http_status=reply.status, retry_after=wait)
    return not_understood(reply.status)


def not_understood(status: int | None) -> Answer:
    """It was received, so it may be billed; what was answered says nothing about the person."""
    return Answer(Outcome.PROVIDER_ERROR, "BAD_REPLY", billed=Billed.MAYBE, http_status=status)


def not_offered() -> Answer:
    """A check that this provider does not know was asked: our own fault, and nothing was sent."""
    return Answer(Outcome.INVALID_INPUT, "PARAM")


def as_check(answer: Answer) -> Answer:
    """What a check may answer: whatever a provider makes of a code, it is nothing about a person.

    That holds for a number that the vendor refuses, too. A refusal of our parameters stays one:
    the check goes unanswered, and an operator must learn why.
    """
    if not answer.outcome.is_result or answer.refuses_us:
        return answer
    return replace(answer, outcome=Outcome.CHECKED, detail=None, fact=Fact.UNKNOWN)
