from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.cases.camara import AuthorizationServer
from tests.transport.certificates import Certificates, make_certificates
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
