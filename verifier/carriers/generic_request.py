"""A described call, compiled, and the request it makes of one person's data.

Every value is encoded here, after its template is rendered, in the format's own way: a name with
quotes, ``&`` or a line break stays inside its field.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

from verifier.carriers import templates
from verifier.carriers.generic_call import Call, Signature
from verifier.carriers.templates import Render

_MEDIA_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_CHINA: Final = timezone(timedelta(hours=8))

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def values(
    *,
    phone: str,
    reference: str,
    name: str | None = None,
    id_number: str | None = None,
    since: date | None = None,
) -> Values:
    """The variables of one call's templates. Time and nonce are drawn once."""
    now = time.time()
    found: Values = {
        "phone": phone,
        "phone_e164": f"+86{phone}",
        "reference": reference,
        "timestamp": str(int(now)),
        "timestamp_ms": str(int(now * 1000)),
        "date": datetime.fromtimestamp(now, UTC).astimezone(_CHINA).strftime("%Y%m%d"),
        "nonce": uuid4().hex,
    }
    if name is not None and id_number is not None:
        found |= {"name": name, "id_number": id_number}
    if since is not None:
        found |= {"since": since.isoformat(), "since_compact": since.isoformat().replace("-", "")}
    return found


class Composer:
    """One described call under one account."""

    def __init__(self, endpoint: str, call: Call, secrets: Mapping[str, str]) -> None:
        self._method = call.method
        self._url = endpoint + call.path
        self._format = call.format
        self._secret = SimpleNamespace(**secrets)
        self._headers = {name: templates.renderer(text) for name, text in call.headers.items()}
        self._query = {name: templates.renderer(text) for name, text in call.query.items()}
        self._body = {name: _leaf(value) for name, value in call.body.items()}
        self._sign = None if call.signature is None else _signer(call.signature, secrets)
        self._signature = call.signature
        self._fixed = {"Accept": "application/json"}
        given = {name.lower() for name in call.headers}
        has_field = call.signature is not None and call.signature.place == "field"
        if (call.body or has_field) and "content-type" not in given:
            self._fixed["Content-Type"] = _MEDIA_TYPES[call.format]
        if "accept" in given:
            del self._fixed["Accept"]

    def compose(self, given: Values) -> Request:
        """The request. Raises ValueError, without the text, for text that has no UTF-8.

        A line break in a header is left to the transport, which refuses it.
        """
        try:
            return self._composed({**given, templates.SECRET: self._secret})
        except UnicodeError:  # it would carry the text along
            raise ValueError("text that has no UTF-8") from None

    def _composed(self, given: Values) -> Request:
        headers = {name: render(given) for name, render in self._headers.items()}
        query = {name: render(given) for name, render in self._query.items()}
        fields = {name: leaf(given) for name, leaf in self._body.items()}
        body = self._encoded(fields)
        match self._signature:
            case Signature(place="field", name=name):
                fields[name] = self._signed(given, query, fields)
                body = self._encoded(fields)
            case Signature(place="header", name=name):
                headers[name] = self._signed(given, query, fields, body)
            case Signature(place="query", name=name):
                query[name] = self._signed(given, query, fields, body)
        url = f"{self._url}?{urlencode(query, quote_via=quote)}" if query else self._url
        return Request(self._method, url, {**self._fixed, **headers}, body)

    def _encoded(self, fields: Values) -> bytes:
        if not fields:
            return b""
        if self._format == "json":
            return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        return urlencode(
            {name: _text(value) for name, value in fields.items()}, quote_via=quote
        ).encode()

    def _signed(self, given: Values, query: Values, fields: Values, body: bytes = b"") -> str:
        if self._sign is None or self._signature is None:
            return ""
        joined = self._signature.separator.join(
            f"{name}{self._signature.equals}{_text(value)}"
            for name, value in sorted({**query, **fields}.items())
        )
        return self._sign({**given, "sorted_parameters": joined, "body": body.decode()})


def _leaf(value: Any) -> Callable[[Values], Any]:
    if isinstance(value, str):
        return templates.renderer(value)
    if isinstance(value, dict):
        inside = {name: _leaf(leaf) for name, leaf in value.items()}
        return lambda given: {name: render(given) for name, render in inside.items()}
    return lambda _given: value


def _text(value: Any) -> str:
    """As it stands in a form or under a signature: truth values in JSON's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _signer(signature: Signature, secrets: Mapping[str, str]) -> Render:
    render = templates.renderer(signature.over)
    algorithm = signature.algorithm.removeprefix("hmac_")
    key = secrets[signature.key].encode() if signature.key is not None else None

    def sign(given: Mapping[str, Any]) -> str:
        over = render(given).encode()
        if key is not None:
            digest = hmac.digest(key, over, algorithm)
        else:
            digest = hashlib.new(algorithm, over, usedforsecurity=False).digest()
        if signature.encoding == "base64":
            return base64.b64encode(digest).decode()
        return digest.hex().upper() if signature.case == "upper" else digest.hex()

    return sign
