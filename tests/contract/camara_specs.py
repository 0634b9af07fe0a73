"""CAMARA's own OpenAPI files, and openapi-core as the judge of what is sent and answered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from werkzeug import Request

FOLDER = Path(__file__).parent / "camara"


@dataclass(frozen=True)
class Spec:
    """``path``: the operation we call, below apiRoot, as the file's server and paths have it."""

    file: str
    path: str
    scope: str

    def __str__(self) -> str:
        return self.file.removesuffix(".yaml")


MATCH = Spec("kyc-match.yaml", "/kyc-match/v0.4/match", "kyc-match:match")
DRAFT = Spec("draft-main/kyc-match.yaml", "/kyc-match/vwip/match", "kyc-match:match")
STATUS = Spec(
    "subscription-status.yaml",
    "/subscription-status/v0.1/retrive-subscription-status",
    "subscription-status:retrive-subscription-status",
)
RECYCLING = Spec("number-recycling.yaml", "/number-recycling/v0.2/check", "number-recycling:check")
TENURE = Spec("kyc-tenure.yaml", "/kyc-tenure/v0.2/check-tenure", "kyc-tenure:check-tenure")
SWAP = Spec("sim-swap.yaml", "/sim-swap/v2/check", "sim-swap:check")
SPECS = (MATCH, DRAFT, STATUS, RECYCLING, TENURE, SWAP)


@dataclass(frozen=True)
class Example:
    """An error as a file shows it."""

    status: int
    name: str
    value: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.status}-{self.value['code']}"

    @property
    def key(self) -> str:
        return f"{self.status} {self.value['code']}"


@cache
def document(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / file).read_text("utf-8"))
    return loaded


def operation(spec: Spec) -> dict[str, Any]:
    """The operation that we call."""
    loaded = document(spec.file)
    [server] = loaded["servers"]
    below = spec.path.removeprefix(server["url"].removeprefix("{apiRoot}"))
    found: dict[str, Any] = loaded["paths"][below]["post"]
    return found


def error_examples(spec: Spec) -> list[Example]:
    """Every example of every error that the operation declares."""
    loaded = document(spec.file)
    found = []
    for status, response in operation(spec)["responses"].items():
        if "$ref" in response:
            response = loaded["components"]["responses"][response["$ref"].rpartition("/")[2]]
        if int(status) >= 400:
            found += _examples(int(status), response)
    assert found, spec
    return found


def common_examples() -> list[Example]:
    """Every example of every error of CAMARA_common."""
    responses = document("common/CAMARA_common.yaml")["components"]["responses"]
    return [
        example
        for name, response in responses.items()
        for example in _examples(int(name.removeprefix("Generic")), response)
    ]


def _examples(status: int, response: dict[str, Any]) -> list[Example]:
    shown = response["content"]["application/json"]["examples"]
    return [Example(status, name, row["value"]) for name, row in shown.items()]


@cache
def _judge(file: str) -> OpenAPI:
    """Without ``security``: openapi-core knows no openIdConnect and warns of it."""
    loaded = dict(document(file))
    components = dict(loaded["components"])
    components.pop("securitySchemes")
    loaded["components"] = components
    loaded["paths"] = {
        path: {
            method: {key: value for key, value in row.items() if key != "security"}
            for method, row in methods.items()
        }
        for path, methods in loaded["paths"].items()
    }
    return OpenAPI.from_dict(loaded, base_uri=(FOLDER / file).as_uri())


def _as_seen(spec: Spec, sent: Request) -> MockRequest:
    [server] = document(spec.file)["servers"]
    root = server["variables"]["apiRoot"]["default"]
    return MockRequest(
        root,
        "post",
        sent.path,
        headers=dict(sent.headers),
        data=sent.get_data(),
        content_type=sent.mimetype,
    )


def check_request(spec: Spec, sent: Request) -> None:
    """Raises unless the file allows this request."""
    assert sent.path == spec.path
    _judge(spec.file).validate_request(_as_seen(spec, sent))


def check_response(spec: Spec, sent: Request, status: int, body: bytes) -> None:
    """Raises unless the file allows this answer: our own test data is held to it too."""
    answered = MockResponse(body, status_code=status, content_type="application/json")
    _judge(spec.file).validate_response(_as_seen(spec, sent), answered)
