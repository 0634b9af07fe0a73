"""One HTTP exchange with a total deadline. What every carrier and gateway calls.

Promises: a call ends at its deadline whatever the other side does (never answers, drips a byte a
second, hangs in the TLS handshake, sends a gigabyte); a request is written at most once; and the
caller learns which of three things went wrong: nothing was sent (:class:`NotSent`), something was
sent and the answer is unknown (:class:`Unanswered`), or an answer came that cannot be used
(:class:`BadReply`). No redirects, cookies, proxies from the environment or hidden retries. Neither
a URL nor a body is ever logged or put into an exception.

It does not know what an answer means, and does not decide whether to try again.
"""

from __future__ import annotations

from verifier.transport.client import Transport
from verifier.transport.deadline import Deadline
from verifier.transport.faults import BadReply, NotSent, TransportFault, Unanswered
from verifier.transport.reply import Reply

__all__ = [
    "BadReply",
    "Deadline",
    "NotSent",
    "Reply",
    "Transport",
    "TransportFault",
    "Unanswered",
]
