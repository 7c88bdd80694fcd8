"""One thread of torch in each process of tests; which tests share a process when they are run in parallel."""

from __future__ import annotations

import os
from typing import Any

import pytest

# before torch is imported, and for every process that a test starts: two workers of two threads each on two cores are
# slower than one
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores, at most four: some tests wait for a browser or an engine."""
    return min(4, 3 * (os.cpu_count() or 1) // 2)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one worker, with what they share; all those in a browser do, with one server."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "tests/browser" if file.startswith("tests/browser/") else file

    config.option.loadscopereorder = False  # in their order: the few of the browser, which take long, would be last
    return ByFile(config, log)
