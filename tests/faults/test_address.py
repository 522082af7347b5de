"""A Dask scheduler that others started, over TLS, with two workers; and what is said when they cannot do the work."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import runs
import small
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.cluster import WORKER


def certificate(folder: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None) -> None:
    """A key and a certificate in ``folder``, signed by ``issuer`` or by itself, as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing = issuer or (subject, key)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(signer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signing, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, *plain))
    if issuer is None:
        certificate(folder, "node", (subject, key))


@contextmanager
def program(*arguments: str, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """A Dask command line program; it ends with the context."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    certificate(folder, "ca")
    return folder


@pytest.fixture(scope="module")
def scheduler(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, all over TLS."""
    tls = ("--tls-ca-file", f"{keys}/ca.pem", "--tls-cert", f"{keys}/node.pem", "--tls-key", f"{keys}/node.key")
    file, scratch = tmp_path_factory.mktemp("scheduler") / "address.json", tmp_path_factory.mktemp("workers")
    common = (*tls, "--scheduler-file", str(file))
    with ExitStack() as stack:
        started = program(
            "distributed.cli.dask_scheduler", *common, "--host", "tls://127.0.0.1", "--port", "0", "--no-dashboard"
        )
        stack.enter_context(started)
        for _ in range(2):
            stack.enter_context(
                program(
                    "distributed.cli.dask_worker", *common, *WORKER, "--nworkers", "1", "--no-dashboard",
                    "--local-directory", str(scratch), PYTHONPATH=str(runs.PROJECT),
                )
            )  # fmt: skip
        yield address(file)


def address(file: Path) -> str:
    """The scheduler's address, once it says it."""
    for _ in range(600):
        if file.exists() and file.stat().st_size:
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.1)
    raise AssertionError("the scheduler does not start")


def options(scheduler: str, keys: Path) -> list[str]:
    settings = {"kind": "address", "address": scheduler, "tls_ca": f"{keys}/ca.pem"}
    settings |= {"tls_cert": f"{keys}/node.pem", "tls_key": f"{keys}/node.key"}
    return [part for key, value in settings.items() for part in ("--set", f"cluster.{key}={value}")]


def test_two_workers_over_tls_make_the_same_bytes(
    tmp_path: Path, tiny_weights: Path, scheduler: str, keys: Path, undisturbed: runs.Outcome
) -> None:
    assert scheduler.startswith("tls://")
    region = small.tiny_region(tmp_path, tiny_weights, cluster={})
    for _ in range(2):  # the workers outlive the run, and what they remember of it must not spoil the next one
        done = runs.finish(region, *options(scheduler, keys), "--overwrite")
        assert done.returncode == 0, done.stderr
        assert runs.digest(tmp_path / "out") == undisturbed.digest
    assert "Traceback" not in done.stderr


def test_what_is_wrong_is_said(tmp_path: Path, tiny_weights: Path, scheduler: str, keys: Path) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, cluster={})
    kind = ("--set", "cluster.kind=address", "--set")
    elsewhere = ("--set", f"output={tmp_path / 'other'}")
    waiting = runs.start(region, *kind, "cluster.address=tcp://127.0.0.1:9", *elsewhere)
    plain = runs.finish(region, *kind, f"cluster.address={scheduler}")
    assert plain.returncode == 2
    assert "cluster.tls_key: is missing; TLS needs all three" in plain.stderr
    assert "Traceback" not in plain.stderr
    _, said = waiting.communicate(timeout=100)
    assert waiting.returncode == 2
    assert "does not answer as a Dask scheduler" in said
    assert "Traceback" not in said


def test_workers_that_lack_something_are_named(tmp_path: Path, tiny_weights: Path) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, cluster={})
    file = tmp_path / "address.json"
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/sitecustomize.py").write_text("import sys; sys.modules['pipeline'] = None")
    common = ("--scheduler-file", str(file))
    with (
        program("distributed.cli.dask_scheduler", *common, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        program(
            "distributed.cli.dask_worker",
            *common,
            "--no-dashboard",
            "--no-nanny",
            "--local-directory",
            str(tmp_path),
            PYTHONPATH=str(tmp_path / "bare"),
        ),
    ):
        where = address(file)
        runs.settle(where)
        refused = runs.finish(region, "--set", "cluster.kind=address", "--set", f"cluster.address={where}")
    assert refused.returncode == 2, refused.stderr
    assert "workers do not have the project; install seamless-footprints" in refused.stderr
