"""Workers are forked from a server that has imported what they need, and it goes when its run goes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
from runs import PROJECT

from models.memory import KEEP_PAGES

CODE = """
import os, sys
from multiprocessing import get_context
from pipeline import nursery

def look(answer):
    import signal
    answer.put((os.getppid(), "torch" in sys.modules, "pipeline.tasks" in sys.modules,
                signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, "MALLOC_TRIM_THRESHOLD_" in os.environ))

if __name__ == "__main__":
    nursery.start()
    nursery.start()  # it runs already
    context = get_context(nursery.METHOD)
    answer = context.Queue()
    for _ in range(2):
        child = context.Process(target=look, args=(answer,))
        child.start()
        print(*answer.get(), os.getpid(), "torch" in sys.modules)
        child.join()
"""


def test_workers_share_one_server_that_has_imported_and_it_ends_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "run.py"], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first == second
    server, *imported, driver, driver_has_torch = first
    assert imported == ["True", "True", "True", "True"]
    assert driver_has_torch == "False"
    assert server != driver
    psutil.wait_procs([psutil.Process(int(server))] if psutil.pid_exists(int(server)) else [], timeout=20)
    assert not psutil.pid_exists(int(server))


def test_the_guide_names_the_same_environment_for_workers_that_others_start() -> None:
    guide = (PROJECT / "docs/clusters.md").read_text(encoding="utf-8")
    assert [f"{name}={value}" for name, value in KEEP_PAGES.items() if f"{name}={value}" not in guide] == []
