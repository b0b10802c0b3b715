"""The environment of processes that tests start."""

import os
from pathlib import Path

WITHOUT_TORCH = str(Path(__file__).parent / "without_torch")


def environment(**more: str) -> dict[str, str]:
    """That of the tests, on the CPU and without torch."""
    path = os.pathsep.join([WITHOUT_TORCH, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path} | more
