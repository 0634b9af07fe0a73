"""What can go wrong with an exchange, by what the other side may have received.

The text of a fault is its reason, a short word of our own. It never holds a URL, a header, a body
or the text of another library's exception, so it may be logged.
"""

from __future__ import annotations


class TransportFault(Exception):
    """An exchange that produced no usable reply. ``reason`` is one of the words listed below."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSent(TransportFault):
    """No byte of the request reached the other side; trying again is safe.

    ``dns``, ``refused``, ``connect_timeout``, ``tls`` (certificate or handshake), ``reset`` (an
    idle connection had died and took nothing), ``busy`` (no free connection), ``deadline`` (it
    passed before the first byte), ``vetoed`` (the caller's ``before_send`` said no).
    """

    @property
    def is_blip(self) -> bool:
        """Worth one more try at once: a name server or a listener that was away for a moment."""
        return self.reason in {"dns", "refused", "reset"}


class Unanswered(TransportFault):
    """The request may have been received; no complete answer was. Trying again may repeat it.

    ``deadline`` (it fired, whatever had been read by then) or ``lost`` (the connection ended).
    """


class BadReply(TransportFault):
    """An answer came that cannot be used. The request was received.

    ``redirect``, ``oversize``, ``garbage`` (not HTTP), ``encoding`` (a content coding we refuse or
    that is broken).
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
