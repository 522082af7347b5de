"""Fixtures of the end-to-end tests."""

from pathlib import Path

import pytest
from regions import write_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cheap random weights."""
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")
