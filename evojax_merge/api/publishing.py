"""Uploading what was merged."""

from pathlib import Path

from evojax_merge.report.run_files import CONFIG_FILE, EXPORT


def export_of(directory: str | Path) -> Path:
    """The directory of an export: the one given, or that of a run.

    Raises:
        ValueError: It is a run without an export.
    """
    given = Path(directory)
    if not (given / CONFIG_FILE).is_file() or (given / "config.json").exists():
        return given
    if not (given / EXPORT).is_dir():
        raise ValueError(
            f"{given}: is a run without an export; finish it with resume, or build its recipe with "
            "apply"
        )
    return given / EXPORT


def push(
    directory: str | Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload an export to the Hugging Face hub.

    The token is that of the environment (``HF_TOKEN``), or of ``hf auth login``.

    Args:
        directory: The directory of an export, or of a run that has one.
        name: The repository, ``owner/name``, which is made if it is not there.
        private: Whether a new repository is private.
        revision: The branch; by default, the main one.
        message: The message of the commit.
        endpoint: The address of the hub; by default, ``HF_ENDPOINT``, or huggingface.co.

    Returns:
        The address of the commit.

    Raises:
        ValueError: The export is not whole or has no card, or the hub does not take it.
    """
    from evojax_merge.checkpoints.upload import check_name, listed, upload

    check_name(name)
    export = export_of(directory)
    listed(export)
    return upload(
        export, name, private=private, revision=revision, message=message, endpoint=endpoint
    )
