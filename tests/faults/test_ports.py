"""Dask asks nobody who they are: what a local run listens on is reached from this machine alone, and shows no pages."""

import http.client
import itertools
from contextlib import closing
from pathlib import Path

import psutil
import runs
import small

# Of Dask's HTTP servers: the dashboard, and what they serve without one.
PAGES = ("/status", "/health", "/metrics", "/info/main/workers.html", "/json/counts.json")


def listening(process: runs.Process) -> dict[int, str]:
    """The ports that a run listens on, each with its address."""
    family = [psutil.Process(process.pid), *runs.family(process)]
    found = itertools.chain.from_iterable(each.net_connections("inet") for each in family)
    return {each.laddr.port: each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}


def serves(port: int, page: str) -> bool:
    """Whether a browser would be shown a page."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", page)
        try:
            return connection.getresponse().status == 200
        except (http.client.HTTPException, OSError):
            return False  # it speaks Dask's own protocol


def test_a_local_run_listens_on_loopback_and_shows_no_pages(tmp_path: Path, tiny_weights: Path) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, **small.FINE)
    with runs.start(region) as process:
        try:
            runs.wait_until(lambda: bool(runs.journalled(tmp_path / "out")), process)
            ports = listening(process)
            served = [(port, page) for port in ports for page in PAGES if serves(port, page)]
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert len(ports) >= 2, "the scheduler's and a worker's"
    assert set(ports.values()) == {"127.0.0.1"}
    assert served == []
