"""What all tests share. Being here also puts this folder on the path: ``import strategies``, ``import imagery``."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from small import write_weights

# Tests are not timed: a busy machine is no failure. Speed is measured in tests/benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# The networks of tests are so small that threads would wait for each other longer than they compute: on two busy cores,
# one test took 46 s instead of 2. Processes that tests start, but for a run's workers, do the same.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery beside the checkout; tests that need it are skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip("the real imagery is not here (../shared/data)")
    return SHARED.resolve()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a cheap TernausNet11 with random (He) weights."""
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")
