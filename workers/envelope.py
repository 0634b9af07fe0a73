"""What may come out of a queue: a message is checked, and made anew, before Celery sees it.

Whoever can write to the broker can write anything. Celery and kombu trust what they read: a text
that is no JSON ends a worker, a time limit in a header kills its children, a ``link`` makes it
publish, and what cannot be understood is logged with its content. So nothing of a message goes on
but its task, its id, its keyword arguments and when it expires; the rest is written by us. What has
more to ask for (another time, a callback, a chain) is refused and said so, rather than half obeyed.

:func:`renewed` is pure. It raises :class:`Refused` with a reason in fixed words: a message may hold
anything, so nothing of it is ever told but its size.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Container
from datetime import UTC, datetime
from typing import Any, Final

#: Bytes. A list of 100,000 references fits; a longer one goes through the client library.
LARGEST: Final = 4 * 1024 * 1024

#: Lists and objects inside the keyword arguments: ours have at most one level.
_DEEPEST: Final = 8

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PLAIN_TEXT: Final = frozenset({"utf-8", "us-ascii", "ascii"})


class Refused(ValueError):
    """The message is not one of ours. The text is the reason, in words of this module."""


def renewed(raw: bytes, queue: str, tasks: Container[str]) -> bytes:
    """The message that ``raw`` from ``queue`` stands for, safe to give to kombu and Celery.

    ``tasks`` are the names that are served. Raises :class:`Refused`.
    """
    if len(raw) > LARGEST:
        raise Refused("too large")
    message = _object(_parsed(raw, "not JSON"), "not a JSON object")
    headers = _object(message.get("headers"), "no headers")
    properties = _object(message.get("properties", {}), "properties are no object")
    task, message_id = headers.get("task"), headers.get("id")
    if not isinstance(task, str) or task not in tasks:
        raise Refused("unknown task")
    if not isinstance(message_id, str) or not _ID.fullmatch(message_id):
        raise Refused("no usable id")
    if headers.get("eta") is not None:
        raise Refused("asks for another time (eta)")
    if headers.get("compression"):
        raise Refused("compressed")
    if message.get("content-type") != "application/json":
        raise Refused("its content type is not application/json")
    encoding = message.get("content-encoding")
    encoding = "utf-8" if encoding is None else encoding
    if not isinstance(encoding, str) or encoding.lower() not in _PLAIN_TEXT:
        raise Refused("its content encoding is not utf-8")
    arguments = _arguments(message.get("body"), properties.get("body_encoding"))
    fresh_headers: dict[str, Any] = {"lang": "py", "task": task, "id": message_id}
    fresh_headers["root_id"] = message_id
    if headers.get("expires") is not None:
        fresh_headers["expires"] = _instant(headers["expires"])
    return _written(arguments, fresh_headers, queue)


def _parsed(raw: bytes, otherwise: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused(otherwise) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(value: Any, otherwise: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(otherwise)
    return value


def _arguments(body: Any, encoding: Any) -> dict[str, Any]:
    """The keyword arguments in a body of ``[args, kwargs, embed]``."""
    if not isinstance(body, str) or not body:
        raise Refused("no body")
    if encoding not in (None, "utf-8", "base64"):
        raise Refused("its body is neither text nor base64")
    try:
        text = base64.b64decode(body, validate=True) if encoding == "base64" else body.encode()
    except (binascii.Error, ValueError):
        raise Refused("its body cannot be decoded") from None
    content = _parsed(text, "its body is not JSON")
    if not isinstance(content, list) or len(content) != 3:
        raise Refused("its body is not [args, kwargs, embed]")
    positional, keyword, embed = content
    if positional != []:
        raise Refused("it has positional arguments")
    keyword = _object(keyword, "its arguments are no object")
    if embed is not None and any(_object(embed, "its third part is no object").values()):
        raise Refused("asks for callbacks or a chain")
    _check_depth(keyword, _DEEPEST)
    return keyword


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict):
        # kombu would make objects of it: dates, UUIDs, byte strings.
        if "__type__" in value:
            raise Refused("its arguments are more than JSON")
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return
    if left == 0:
        raise Refused("its arguments are nested too deeply")
    for item in inner:
        _check_depth(item, left - 1)


def _instant(value: Any) -> str:
    """When the message expires, in UTC."""
    try:
        instant = datetime.fromisoformat(value)
        return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC).isoformat()
    except (TypeError, ValueError, OverflowError):
        raise Refused("it expires at no readable time") from None


def _written(arguments: dict[str, Any], headers: dict[str, Any], queue: str) -> bytes:
    try:
        body = json.dumps([[], arguments, {}], ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # halves of characters, which no database stores
        raise Refused("its arguments are not text") from None
    message = {
        "body": base64.b64encode(body).decode("ascii"),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": headers["id"],
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return json.dumps(message).encode("ascii")
