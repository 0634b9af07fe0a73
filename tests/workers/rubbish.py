"""What a stranger may put into the broker. Each piece carries a person's data, to see it leak."""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from typing import Any, Final

from workers.envelope import LARGEST

PHONE: Final = "13800138000"
NAME: Final = "欧阳致远"
ID_NUMBER: Final = "110101199003078515"
PERSON: Final = {"phone": PHONE, "name": NAME, "id_number": ID_NUMBER}


def message(task: Any = "verifier.canary", **kwargs: Any) -> dict[str, Any]:
    """A sound message, as a client of another language would write it."""
    return {
        "body": body([[], kwargs, {}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "js", "task": task, "id": str(uuid.uuid4())},
        "properties": {
            "correlation_id": "1",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "control"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def body(content: Any) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def written(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _with(**parts: Any) -> bytes:
    """A sound message with other parts. ``part__name`` replaces a name inside of one."""
    whole = message()
    for place, value in parts.items():
        outer, _, inner = place.partition("__")
        if inner:
            whole[outer.replace("_", "-")][inner] = value
        else:
            whole[outer.replace("_", "-")] = value
    return written(whole)


def _with_body(content: Any) -> bytes:
    return _with(body=body(content))


def _nested(levels: int) -> str:
    return "[" * levels + f'"{PHONE}"' + "]" * levels


def _bomb() -> bytes:
    """A hundred kilobytes that would be a hundred megabytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(100)) + packer.flush()
    whole = message()
    whole["body"] = base64.b64encode(packed).decode()
    whole["headers"]["compression"] = "application/x-gzip"
    return written(whole)


#: Name: what stands in the queue, and the reason for which it is refused.
REFUSED: Final[dict[str, tuple[bytes, str]]] = {
    "nothing": (b"", "not JSON"),
    "bytes": (b"\xff\xfe\x00\x01" + PHONE.encode(), "not JSON"),
    "text": (f"call {NAME} on {PHONE}".encode(), "not JSON"),
    "truncated utf-8": (written(PERSON)[:-20] + "致".encode()[:2], "not JSON"),
    "half a message": (written(message(person=PERSON))[:-9], "not JSON"),
    "utf-16": (json.dumps(message(person=PERSON)).encode("utf-16"), "not JSON"),
    "nan": (b'{"body": NaN}', "not JSON"),
    "nested 100,000 levels": (_nested(100_000).encode(), "not JSON"),
    "an enormous number": (b"9" * 5000, "not JSON"),
    "a list": (written([PERSON]), "not a JSON object"),
    "a number": (PHONE.encode(), "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "too large": (b"x" * (LARGEST + 1), "too large"),
    "an empty object": (b"{}", "no headers"),
    "an old message": (written({"task": "verifier.sweep", "kwargs": PERSON}), "no headers"),
    "headers of text": (_with(headers=PHONE), "no headers"),
    "properties of text": (_with(properties=PHONE), "properties are no object"),
    "no task": (_with(headers={"id": PHONE}), "unknown task"),
    "a task nobody has": (_with(headers__task=f"call.{NAME}"), "unknown task"),
    "a task of celery": (_with(headers__task="celery.starmap"), "unknown task"),
    "a task that is a list": (_with(headers__task=[PHONE]), "unknown task"),
    "no id": (_with(headers={"task": "verifier.sweep"}), "no usable id"),
    "an id that is an object": (_with(headers__id=PERSON), "no usable id"),
    "an id with a name": (_with(headers__id=NAME), "no usable id"),
    "eta in the year 9999": (
        _with(headers__eta="9999-12-31T23:59:59+00:00"),
        "asks for another time (eta)",
    ),
    "a wrong eta": (_with(headers__eta=PHONE), "asks for another time (eta)"),
    "expires never": (_with(headers__expires=PHONE), "it expires at no readable time"),
    "expires as an object": (_with(headers__expires=PERSON), "it expires at no readable time"),
    "expires off the calendar": (
        _with(headers__expires="0001-01-01T00:00:00+23:59"),
        "it expires at no readable time",
    ),
    "a zip bomb": (_bomb(), "compressed"),
    "pickle": (
        _with(content_type="application/x-python-serialize"),
        "its content type is not application/json",
    ),
    "yaml": (_with(content_type="application/x-yaml"), "its content type is not application/json"),
    "no content type": (_with(content_type=None), "its content type is not application/json"),
    "another charset": (_with(content_encoding="utf-16"), "its content encoding is not utf-8"),
    "a charset that is a list": (_with(content_encoding=[]), "its content encoding is not utf-8"),
    "no body": (_with(body=None), "no body"),
    "an empty body": (_with(body=""), "no body"),
    "a body that is an object": (_with(body=PERSON), "no body"),
    "an unknown body encoding": (
        _with(properties__body_encoding="rot13"),
        "its body is neither text nor base64",
    ),
    "no base64": (_with(body="*" + PHONE), "its body cannot be decoded"),
    "a body that is no JSON": (
        _with(body=base64.b64encode(f"{NAME} {PHONE}".encode()).decode()),
        "its body is not JSON",
    ),
    "a body nested deeply": (
        _with(body=base64.b64encode(_nested(50_000).encode()).decode()),
        "its body is not JSON",
    ),
    "a body of one part": (_with_body([PERSON]), "its body is not [args, kwargs, embed]"),
    "a body that is text": (_with_body(PHONE), "its body is not [args, kwargs, embed]"),
    "positional arguments": (_with_body([[PHONE], {}, {}]), "it has positional arguments"),
    "args that are an object": (_with_body([PERSON, {}, {}]), "it has positional arguments"),
    "kwargs that are a list": (_with_body([[], [PERSON], {}]), "its arguments are no object"),
    "kwargs nested deeply": (
        _with_body([[], {"lane": json.loads(_nested(60))}, {}]),
        "its arguments are nested too deeply",
    ),
    "kombu's own types": (
        _with_body([[], {"lane": {"__type__": "datetime", "__value__": PHONE}}, {}]),
        "its arguments are more than JSON",
    ),
    "half a character": (
        _with_body([[], {"lane": f"\ud800{PHONE}"}, {}]),
        "its arguments are not text",
    ),
    "an embed of text": (_with_body([[], {}, PHONE]), "its third part is no object"),
    **{
        f"an injected {part}": (
            _with_body([[], {}, {part: [{"task": "verifier.sweep", "kwargs": PERSON}]}]),
            "asks for callbacks or a chain",
        )
        for part in ("callbacks", "errbacks", "chain", "chord")
    },
}


def harmless() -> list[bytes]:
    """Sound messages with rubbish in headers that nobody looks at: they are simply served."""
    headers = {
        "retries": 10**30,
        "timelimit": [0.001, 0.001],
        "shadow": f"{NAME} {PHONE}",
        "argsrepr": f"({PHONE})",
        "kwargsrepr": NAME,
        "origin": NAME,
        "parent_id": PERSON,
        "root_id": [NAME],
        "group": PERSON,
        "stamped_headers": ["x"],
        "stamps": {"x": NAME},
        "ignore_result": False,
        "replaced_task_nesting": NAME,
        "redelivered": PERSON,
    }
    properties = {
        "reply_to": PHONE,
        "correlation_id": PERSON,
        "priority": NAME,
        "delivery_tag": PERSON,
        "delivery_info": NAME,
        "type": NAME,
    }
    found = []
    for part, rubbish in (("headers", headers), ("properties", properties)):
        for name, value in rubbish.items():
            whole = message(queue="control")
            whole[part][name] = value
            found.append(written(whole))
    without = message(queue="control")
    del without["properties"]["delivery_tag"], without["properties"]["delivery_info"]
    return [*found, written(without)]
