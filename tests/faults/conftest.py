"""What the tests of bad input share."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny


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


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny region's network."""
    return tiny.weights(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tiny.Zygote]:
    """Runs regions in forked children of one warm process."""
    with tiny.zygote(tmp_path_factory.mktemp("logs")) as warm:
        yield warm


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: tiny.Zygote) -> tiny.Outcome:
    """The tiny region, run without any fault."""
    region = tiny.region(tmp_path_factory.mktemp("undisturbed"), tiny_weights)
    done = zygote.run(region)
    assert done.code == 0, done.text
    assert tiny.report(region.parent / "out")["footprints"] > 10
    return tiny.Outcome(tiny.digest(region.parent / "out"), done.calls)
