"""A sweep that nothing has interrupted."""

from pathlib import Path

import pytest

from evojax_merge import cli
from tests.sweeps.small import evolve


@pytest.fixture(scope="package")
def whole(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "sweep"
    cli.main(evolve(directory, "seed=0,1,2,3"))
    return directory
