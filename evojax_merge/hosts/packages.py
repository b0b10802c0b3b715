"""The versions of what computes."""

import importlib.metadata
import platform

PACKAGES = (
    "evojax-merge",
    "jax",
    "jaxlib",
    "numpy",
    "ml_dtypes",
    "flax",
    "evosax",
    "optax",
    "orbax-checkpoint",
    "scikit-learn",
    "scipy",
    "safetensors",
    "tokenizers",
    "transformers",
)
"""The packages whose versions may change what is computed or how it is said."""


def versions() -> dict[str, str]:
    """The version of Python and of each package; ``missing`` where one is not installed."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
