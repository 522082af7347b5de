"""What a run imports, and when: importing is part of its time."""

import subprocess
import sys

import pytest

UNUSED = {"torchvision", "matplotlib", "tensorboard", "xarray", "rioxarray", "sklearn", "hypothesis", "IPython"}
"""What no run uses, though it may be installed."""
LATER = {"torch", "zarr", "scipy", "pyarrow", "pandas", "contourpy"}
"""What is imported while the workers start, or only by them."""


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("pipeline.run", UNUSED | LATER),
        ("pipeline.produce", UNUSED | {"torch"}),
        ("pipeline.tasks", UNUSED | {"torch", "pandas", "distributed"}),
    ],
)
def test_nothing_is_imported_before_it_is_used(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(imported.stdout.split())
