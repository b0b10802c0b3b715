"""Tests keep nothing in the user's home, and compile no program twice."""

import gc
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import shapes

shapes.install()  # before a test module imports the package

FOLDER = tempfile.TemporaryDirectory(prefix="evojax-merge-cache-")

# Set here, before other modules import JAX and test modules copy the environment for the processes
# that they start. Matplotlib would list the fonts of the machine anew; it stays where it was.
HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
os.environ.setdefault("MPLCONFIGDIR", str(Path(HOME) / "matplotlib"))
os.environ["XDG_CACHE_HOME"] = FOLDER.name
# The workers of one test run share their compiled programs. Two may write the same one at once;
# its checksum tells who reads it half written, and it is compiled anew.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = FOLDER.name + "/compiled"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

# A slow or busy machine is no error.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

gc.set_threshold(20_000, 20, 50)  # compiled programs are many objects, and stay


@pytest.fixture(autouse=True, scope="module")
def _what_stays_is_not_searched_again():
    """What a module leaves behind, compiled programs above all, is no garbage to look for later."""
    yield
    gc.freeze()


def pytest_configure(config):
    config.add_cleanup(FOLDER.cleanup)


@pytest.hookimpl(tryfirst=True)  # before markers are selected by
def pytest_collection_modifyitems(items):
    """Of a test with the marker ``few(n)``, all cases but the first n are slow."""
    seen = Counter()
    for item in items:
        if (few := item.get_closest_marker("few")) is not None:
            name = item.nodeid.partition("[")[0]
            seen[name] += 1
            if seen[name] > few.args[0]:
                item.add_marker("slow")
