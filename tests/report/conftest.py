"""Figures as they were when they were written."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """All that are saved during the test."""
    saved: list[Figure] = []
    write = Figure.savefig

    def savefig(self, *args, **kwargs):
        saved.append(self)
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved
