"""What the tests of bad input share."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection by Python fails the test: bad input must not reach the network, whatever it says."""

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"connected to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening port on loopback, which GDAL's own network code would reach if it were let."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield server
