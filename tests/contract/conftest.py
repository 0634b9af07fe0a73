from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from tests.contract.cases.camara import AuthorizationServer
from tests.contract.operators import Operator
from tests.transport.certificates import Certificates, make_certificates
from verifier.sandbox.server import SandboxServer
from verifier.transport import Transport


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def transport(certificates: Certificates) -> Iterator[Transport]:
    made = Transport(threads=16, connect_timeout=5.0, ca_file=str(certificates.authority))
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def authorization_server() -> Iterator[None]:
    with AuthorizationServer.running():
        yield


@pytest.fixture(scope="module")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with SandboxServer(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def blank_sandbox(_sandbox: SandboxServer) -> SandboxServer:
    """The vendors, who know nobody yet, were asked nothing and are told nothing else."""
    _sandbox.client.reset(truth=True, faults=True, settings=True, register=True)
    return _sandbox


@pytest.fixture
def operator(httpserver: HTTPServer) -> Operator:
    return Operator(httpserver)
