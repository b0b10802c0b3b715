"""Where the files are that come with the package."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def conf_directory() -> Path:
    """The configuration: in the wheel, or beside a checkout."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parent / "conf"


def experiments_directory() -> str:
    """The experiments: beside the package in a checkout, else in the working directory."""
    beside = PACKAGE.parent / "experiments"
    return str(beside) if beside.is_dir() else "experiments"
