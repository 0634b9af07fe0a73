"""Alibaba Cloud SMS (Dysmsapi 2017-05-25): one templated message to one number.

Nothing is deduped by the vendor; ``OutId`` is our reference, echoed by ``QuerySendDetails``, which
is how an unanswered send is settled.

The parameters travel in the form body. Alibaba's own SDK puts them into the URL, where proxies and
access logs keep phone numbers. The RPC gateway merges query and form parameters, and ACS3 covers
the body by ``x-acs-content-sha256``; neither was tried against the live service. Should it ever
refuse, the sign is ``MissingPhoneNumbers``, blamed on the operator.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

from verifier.gateways import wire
from verifier.gateways.base import Channel, Delivery, Message, Receipt
from verifier.signing import acs3
from verifier.transport import Deadline, Reply, Transport
from verifier.transport.reply import code_of, identifier_of

ENDPOINT = "https://dysmsapi.aliyuncs.com"
VERSION = "2017-05-25"
CONTENT_TYPE = "application/x-www-form-urlencoded"
NO_TEMPLATE = "template_not_configured"

_CALENDAR = ZoneInfo("Asia/Shanghai")
_PAGE_SIZE = 20  # of at most 50: a page of the longest texts must fit into the transport's limit
_MOST_PAGES = 20
_COUNT = re.compile(r"[0-9]{1,9}")  # int() refuses texts of thousands of digits with an error

_RECEIPTS = {
    "OK": wire.ACCEPTED,
    "isv.MOBILE_NUMBER_ILLEGAL": wire.PERSON,
    "isv.BUSINESS_LIMIT_CONTROL": wire.ENOUGH,  # 50 a day for this number and template
    "isp.RAM_PERMISSION_DENY": wire.OPERATOR,
    "isp.SYSTEM_ERROR": wire.UNKNOWN,
    "isp.GATEWAY_ERROR": wire.UNKNOWN,
    "isp.UNKNOWN": wire.UNKNOWN,
    "Throttling": wire.BUSY,
    "ServiceUnavailable": wire.BUSY,
    "InternalError": wire.UNKNOWN,
    "SignatureNonceUsed": wire.UNKNOWN,  # someone has brought this very request before
    # All other isv.*: our account, signature, template or parameters. So are the gateway's
    # refusals (InvalidAccessKeyId, SignatureDoesNotMatch, InvalidTimeStamp, Forbidden, Missing…),
    # which come as HTTP 4xx.
    "isv": wire.OPERATOR,
}


class AliyunSms:
    """One account and signature. Keeps the contract of :class:`~verifier.gateways.base.Gateway`.

    ``templates``: ``"NAME.LOCALE"``, or ``"NAME"`` for every locale → the vendor's template code.
    """

    kind = "aliyun_sms"
    channel = Channel.SMS
    # How late QuerySendDetails may list a message is not documented. Ten minutes is our guess on
    # the safe side; the risk of a shorter one is a second SMS.
    settle_after = 600.0
    dedupes_for = 0.0

    def __init__(
        self,
        *,
        name: str,
        key_id: str,
        key_secret: str,
        sign_name: str,
        templates: Mapping[str, str],
        endpoint: str,
        transport: Transport,
    ) -> None:
        self.name = name
        self._key_id = key_id
        self._key_secret = key_secret
        self._sign_name = sign_name
        self._templates = dict(templates)
        self._url = f"{endpoint or ENDPOINT}/"
        self._host = urlsplit(self._url).netloc
        self._transport = transport

    def prepare(self, reference: str, deadline: Deadline) -> str | None:  # noqa: ARG002
        return reference

    def send(
        self,
        message: Message,
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Receipt:
        template = self._templates.get(
            f"{message.template}.{message.locale}", self._templates.get(message.template)
        )
        if template is None:
            return wire.with_code(wire.OPERATOR, NO_TEMPLATE)
        fields = {
            "PhoneNumbers": message.recipient,
            "SignName": self._sign_name,
            "TemplateCode": template,
            "TemplateParam": json.dumps(message.parameters, ensure_ascii=False),
            "OutId": message.reference,
        }
        reply = self._call("SendSms", fields, deadline, before_send)
        return reply if isinstance(reply, Receipt) else read(reply)

    def reconcile(
        self, reference: str, recipient: str, day: date, deadline: Deadline
    ) -> Receipt | None:
        days = [day]
        if day < datetime.fromtimestamp(time.time(), UTC).astimezone(_CALENDAR).date():
            days.append(day + timedelta(days=1))  # committed before midnight, listed after it
        for listed_on in days:
            rows = self._details(recipient, listed_on, deadline)
            if rows is None:
                return None
            for row in rows:
                if row.get("OutId") == reference:
                    return wire.with_code(wire.ACCEPTED, code_of(row.get("ErrCode")))
        return Receipt(Delivery.REJECTED)

    def close(self) -> None:
        self._transport.close()

    def _details(
        self, recipient: str, day: date, deadline: Deadline
    ) -> list[dict[str, Any]] | None:
        """All messages to a number on a day, or None unless the list is certainly complete."""
        rows: list[dict[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            fields = {
                "PhoneNumber": recipient,
                "SendDate": day.strftime("%Y%m%d"),
                "PageSize": str(_PAGE_SIZE),
                "CurrentPage": str(page),
            }
            reply = self._call("QuerySendDetails", fields, deadline)
            answer = None if isinstance(reply, Receipt) else _details_of(reply)
            if answer is None:
                return None
            total, found = answer
            rows += found
            if len(rows) >= total:
                return rows
            if not found:
                return None
        return None

    def _call(
        self,
        action: str,
        fields: dict[str, str],
        deadline: Deadline,
        before_send: Callable[[], bool] | None = None,
    ) -> Reply | Receipt:
        body = acs3.form(fields)
        headers = acs3.headers(
            access_key_id=self._key_id,
            access_key_secret=self._key_secret,
            host=self._host,
            action=action,
            version=VERSION,
            body=body,
            content_type=CONTENT_TYPE,
            timestamp=int(time.time()),
            nonce=uuid4().hex,
        )
        headers["Accept"] = "application/json"  # the gateway's default is XML
        return wire.ask(
            lambda: self._transport.request("POST", self._url, headers, body, deadline, before_send)
        )


def read(reply: Reply) -> Receipt:
    """What a reply to SendSms means: by its code, then by the code's prefix, then by its status."""
    answer = reply.json_object() or {}
    code = code_of(answer.get("Code"))
    receipt = next((_RECEIPTS[key] for key in _prefixes(code or "") if key in _RECEIPTS), None)
    if receipt is None or (receipt is wire.ACCEPTED and reply.status != 200):
        receipt = wire.by_status(reply)
    return wire.with_code(receipt, code, identifier_of(answer.get("BizId")))


def _prefixes(code: str) -> Iterator[str]:
    while code:
        yield code
        code = code.rpartition(".")[0]


def _details_of(reply: Reply) -> tuple[int, list[dict[str, Any]]] | None:
    answer = reply.json_object() or {}
    total = answer.get("TotalCount")
    if isinstance(total, str) and _COUNT.fullmatch(total):
        total = int(total)
    wrapper = answer.get("SmsSendDetailDTOs")
    rows = wrapper.get("SmsSendDetailDTO") if isinstance(wrapper, dict) else None
    if reply.status != 200 or answer.get("Code") != "OK" or type(total) is not int:
        return None
    if total < 0:  # else any list, also an empty one, would pass for complete
        return None
    if rows is None and total == 0:
        rows = []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return total, rows
