"""One thread of torch in each process of tests; which tests share a process when they are run in parallel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# before torch is imported, and for every process that a test starts: two workers of two threads each on two cores are
# slower than one
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
# what was compiled is kept, for processes that tests start too: a collection is 5 s shorter, a command half a second
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(autouse=True, scope="session")
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is written to the user's data directory goes to a temporary one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _forgets_what_it_allowed() -> Iterator[None]:
    """What a command in a test allows to be run, this process forgets after it."""
    before = os.environ.get("SAM_DASH_PROBLEMS")
    yield
    if before is None:
        os.environ.pop("SAM_DASH_PROBLEMS", None)
    else:
        os.environ["SAM_DASH_PROBLEMS"] = before


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
