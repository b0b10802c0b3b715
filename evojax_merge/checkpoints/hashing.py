"""What identifies a checkpoint's weights, wherever its directory is."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evojax_merge.checkpoints.headers import weight_files


def weights_hash(directory: Path) -> str:
    """SHA-256 of the weights: of the hashes of the safetensors files, in the order of their names.

    It depends on the bytes of the files alone: the same weights in other shards hash differently.

    Raises:
        CheckpointError: The directory holds no safetensors.
    """
    files = weight_files(directory)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_file_hash, files))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
