"""Keys, tokens and the environment stay out of everything that is printed, logged or stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imagery
import pytest

from pipeline import config, survey
from pipeline.errors import InputError

ROOT = Path(__file__).parents[2]
SECRET = "c0rrect-h0rse-battery"  # noqa: S105 - it stands for one


@pytest.mark.parametrize("bad", ["", "tiles: {size: 500}"])
def test_neither_keys_nor_the_environment_are_printed(tmp_path: Path, bad: str) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(64, 64))
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text(SECRET)
    tls = "tls_ca: ca.pem, tls_cert: cert.pem, tls_key: key.pem"
    text = f"scenes: [a.tif]\ncluster: {{kind: address, address: 'tls://127.0.0.1:1', {tls}}}\n{bad}"
    command = [sys.executable, "-m", "pipeline.run", str(imagery.region(tmp_path, text)), "--dry-run"]
    environment = os.environ | {"DATABASE_PASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert ended.returncode in (0, 2)
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".pem", ".tif", ".yaml")]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_addresses_are_repeated_without_their_secrets(tmp_path: Path) -> None:
    scenes = (f"https://a.org/a.tif?sig={SECRET}", f"https://u:{SECRET}@a.org/a.tif", f"s3://u:{SECRET}@b/a")
    region = imagery.region(tmp_path, f"scenes: {json.dumps([*scenes, f'/vsis3/b?{SECRET}'])}")
    with pytest.raises(InputError) as caught:
        survey.survey(config.load(region))
    assert len(caught.value.problems) == 4
    assert SECRET not in str(caught.value)
