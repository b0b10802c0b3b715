"""Cases of a parametrized test that are left to `make test-slow`."""

import pytest


def slow(*values: object) -> list:
    """Each value as a case of its own, beside those of the fast suite."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
