"""An operator that somebody else's tool makes from CAMARA's own file: connexion, with its mocks.

``python camara_mock.py FILE`` serves on a free port of 127.0.0.1, prints it, and ends with its
standard input. Requests and answers are validated by connexion. A process of its own, because
importing connexion warns, and warnings are errors in the tests.

connexion answers with the file's examples. number-recycling, subscription-status and the ``/check``
of sim-swap show none for their 200, so connexion would answer ``null`` and refuse that itself: for
these three an example is added here. The others are served as they are.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import connexion  # type: ignore[import-untyped]
import uvicorn
import yaml
from connexion.mock import MockResolver  # type: ignore[import-untyped]
from connexion.options import SwaggerUIOptions  # type: ignore[import-untyped]
from connexion.security import (  # type: ignore[import-untyped]
    NO_VALUE,
    AbstractSecurityHandler,
)

_EXAMPLES: dict[str, dict[str, Any]] = {
    "number-recycling.yaml": {"phoneNumberRecycled": True},
    "subscription-status.yaml": {
        "voiceSmsIn": "active",
        "voiceSmsOut": "suspended",
        "dataService": "throttled",
    },
    "sim-swap.yaml": {"swapped": False},
}


class _AnyBearer(AbstractSecurityHandler):  # type: ignore[misc]
    """connexion knows no openIdConnect of its own: any bearer token will do."""

    security_definition_key = "openIdConnect"

    def get_fn(self, security_scheme: Any, required_scopes: Any) -> Any:
        def check(request: Any) -> Any:
            given = str(request.headers.get("authorization", ""))
            return {"sub": "tests"} if given.startswith("Bearer ") else NO_VALUE

        return check


def _specification(file: Path) -> Any:
    """The file, or its content with the example that it lacks."""
    example = _EXAMPLES.get(file.name)
    if example is None:
        return file.name
    specification = yaml.safe_load(file.read_text("utf-8"))
    responses = specification["components"]["responses"]
    for operations in specification["paths"].values():
        answered = operations["post"]["responses"]["200"]
        if "$ref" in answered:
            answered = responses[answered["$ref"].rpartition("/")[2]]
        media = answered["content"]["application/json"]
        if "examples" not in media:
            media["example"] = example
    return specification


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    file = Path(sys.argv[1])
    app = connexion.AsyncApp(
        "mock", specification_dir=str(file.parent), security_map={"openIdConnect": _AnyBearer}
    )
    app.add_api(
        _specification(file),
        resolver=MockResolver(mock_all=True),
        validate_responses=True,
        strict_validation=True,
        swagger_ui_options=SwaggerUIOptions(swagger_ui=False),
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))

    def stop_with_the_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=stop_with_the_parent, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
