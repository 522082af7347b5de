"""What the tests of bad input share."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import runs
import small


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
    return small.tiny_weights(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runs.Zygote]:
    """Runs regions in forked children of one warm process."""
    with runs.zygote(tmp_path_factory.mktemp("logs")) as warm:
        yield warm


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: runs.Zygote) -> runs.Outcome:
    """The tiny region, run without any fault."""
    region = small.tiny_region(tmp_path_factory.mktemp("undisturbed"), tiny_weights)
    outcome = zygote.outcome(region)
    assert runs.report(region.parent / "out")["footprints"] > 10
    return outcome


@pytest.fixture(scope="session")
def undisturbed_fine(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: runs.Zygote) -> runs.Outcome:
    """The tiny region in more blocks, run without any fault."""
    return zygote.outcome(small.tiny_region(tmp_path_factory.mktemp("undisturbed_fine"), tiny_weights, **small.FINE))
