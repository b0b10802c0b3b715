"""Tests keep nothing in the user's home."""

import os
import tempfile
from pathlib import Path


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(prefix="evojax-merge-cache-")
    config.add_cleanup(folder.cleanup)
    # Matplotlib would list the fonts of the machine anew; it stays where it was.
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("MPLCONFIGDIR", str(Path(home) / "matplotlib"))
    # Set here, before test modules copy the environment for the processes that they start.
    os.environ["XDG_CACHE_HOME"] = folder.name
