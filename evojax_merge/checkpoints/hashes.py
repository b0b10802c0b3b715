"""The hash that identifies a checkpoint's weights, wherever its directory is."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evojax_merge.checkpoints.adapter_config import is_adapter_directory, read_adapter_config
from evojax_merge.checkpoints.headers import adapter_file, weight_files
from evojax_merge.checkpoints.pipelines import is_pipeline, weight_folders


def weights_hash(directory: Path) -> str:
    """Hash the hashes of the safetensors files, in the order of their names, by SHA-256.

    It depends on the bytes of the files alone: the same weights in other shards hash differently.
    For a LoRA adapter it includes the ranks and scales of the configuration. Of a pipeline all
    parts count.

    Args:
        directory: The directory of the files, or the one file.

    Raises:
        CheckpointError: The directory holds no safetensors.
    """
    if directory.is_file():
        return hashlib.sha256(_file_hash(directory)).hexdigest()
    if is_adapter_directory(directory):
        digests = [_file_hash(adapter_file(directory)), read_adapter_config(directory).digest()]
        return hashlib.sha256(b"".join(digests)).hexdigest()
    folders = weight_folders(directory) if is_pipeline(directory) else [directory]
    files = [file for folder in folders for file in weight_files(folder)]
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_file_hash, files))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
