"""What all tests share. Being here also puts this folder on the path: ``import strategies``, ``import imagery``."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery beside the checkout; tests that need it are skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip("the real imagery is not here (../shared/data)")
    return SHARED.resolve()
