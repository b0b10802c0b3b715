"""The directories of the files that come with the package."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def conf_directory() -> Path:
    """The directory of the configuration: in the wheel, or beside the package in a checkout."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parent / "conf"


def experiments_directory() -> str:
    """The directory of the experiments: beside the package in a checkout, else ``experiments``."""
    beside = PACKAGE.parent / "experiments"
    return str(beside) if beside.is_dir() else "experiments"
