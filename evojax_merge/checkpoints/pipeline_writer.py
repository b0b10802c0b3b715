"""The tensors of a pipeline are written under the whole's names, into folders or into one file."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import STEM, file_headers
from evojax_merge.checkpoints.single_files import described
from evojax_merge.checkpoints.tensor_files import Piece, ShardWriter
from evojax_merge.models.diffusion.config import UNET, VAE, DiffusionConfig
from evojax_merge.models.diffusion.original_names import Place, places

_STEMS = {UNET: "diffusion_pytorch_model", VAE: "diffusion_pytorch_model"}
"""What the names of files of weights begin with, where it is not as in transformers."""

_ONE_FILE = 2**63 - 1


class Spot(NamedTuple):
    """The place of a tensor in the files that are written.

    Attributes:
        file: The index of the writer.
        name: The name in the file.
        first: The first of its elements in the tensor of that name.
        transposed: Whether it is written with rows for columns.
    """

    file: int
    name: str
    first: int = 0
    transposed: bool = False


class PipelineWriter:
    """A writer takes pieces of tensors by the whole's names, from any thread.

    It is a context that closes the files in the end.
    """

    def __init__(
        self, writers: Sequence[ShardWriter], spots: Mapping[str, Spot], pieces: Mapping[str, Piece]
    ) -> None:
        self._writers = writers
        self._spots = spots
        self._pieces = pieces
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for writer in self._writers:
            self._stack.enter_context(writer)
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.__exit__(*failure)

    def write(self, name: str, first: int, elements: np.ndarray) -> None:
        """Write the elements of a tensor from ``first`` on. A transposed one is written whole.

        Raises:
            ValueError: The elements are none of the tensor's (see `ShardWriter.write`).
        """
        spot, shape = self._spots[name], self._pieces[name].shape
        if spot.transposed:
            elements = np.ascontiguousarray(elements.reshape(shape).T).reshape(-1)
        self._writers[spot.file].write(spot.name, spot.first + first, elements)


def folder_writer(
    directory: Path, pieces: Sequence[Piece], carrier: Checkpoint, max_shard_size: int
) -> PipelineWriter:
    """Make a writer of a folder for each part, under the names that the carrier's files have.

    Args:
        directory: The directory of the pipeline. Folders are made.
        pieces: All tensors by the whole's names.
        carrier: The pipeline whose parts they are.
        max_shard_size: How many bytes of tensors a file may hold.
    """
    by_part: dict[str, list[Piece]] = {name: [] for name in carrier.config.present}
    for piece in pieces:
        part, _, name = piece.name.partition("/")
        by_part[part].append(piece._replace(name=name))
    writers: list[ShardWriter] = []
    spots: dict[str, Spot] = {}
    for number, (part, own) in enumerate(by_part.items()):
        (directory / part).mkdir(exist_ok=True)
        stem = _STEMS.get(part, STEM)
        writers.append(ShardWriter(directory / part, own, max_shard_size, stem, durable=True))
        spots |= {f"{part}/{piece.name}": Spot(number, piece.name) for piece in own}
    return PipelineWriter(writers, spots, {piece.name: piece for piece in pieces})


def single_writer(
    file: Path, pieces: Sequence[Piece], carrier: Checkpoint, extra: Mapping[str, str]
) -> PipelineWriter:
    """Make a writer of one file in the original layout.

    Args:
        file: The path of the file.
        pieces: All tensors, parameters by the whole's names, and what is carried by its own.
        carrier: The pipeline whose tensors they are. Where it is a single file, its tensors keep
            their order and shapes.
        extra: Texts that go into the metadata, by the names of the files that they would be.

    Raises:
        CheckpointError: The original layout has no name for some tensor, or what stands in one
            tensor there is of several dtypes.
    """
    known = placed(carrier)
    stored = file_headers(carrier.directory) if carrier.directory.is_file() else {}
    found: dict[str, Piece] = {}
    spots: dict[str, Spot] = {}
    for piece in pieces:
        place = known.get(piece.name, Place(piece.name))
        whole = _stored(place, piece)
        held = stored.get(place.name)
        if held is not None and np.prod(held.shape) == np.prod(whole.shape):
            whole = whole._replace(shape=held.shape)
        if found.setdefault(place.name, whole).dtype != whole.dtype:
            raise CheckpointError(
                f"{place.name}: parts of it are {found[place.name].dtype} and {whole.dtype}, and a "
                "single file has one dtype for it; write a folder, or give model.dtype"
            )
        first = 0 if place.rows is None else place.rows[0] * int(np.prod(piece.shape))
        spots[piece.name] = Spot(0, place.name, first, place.transposed)
    order = {name: number for number, name in enumerate(stored)}
    ordered = sorted(found.values(), key=lambda piece: order.get(piece.name, len(order)))
    metadata = described(carrier.hf_config)
    metadata |= {f"evojax_merge.{name}": text for name, text in extra.items()}
    stem = file.name.removesuffix(".safetensors")
    writer = ShardWriter(file.parent, ordered, _ONE_FILE, stem, durable=True, metadata=metadata)
    return PipelineWriter([writer], spots, {piece.name: piece for piece in pieces})


def placed(carrier: Checkpoint) -> Mapping[str, Place]:
    """Return the place of each tensor of a pipeline in a single file.

    Raises:
        CheckpointError: The original layout has no name for some tensor.
    """
    config: DiffusionConfig = carrier.config
    try:
        return places(config)
    except ValueError as error:
        raise CheckpointError(
            f"{carrier.directory}: cannot be written as a single file ({error}); write a folder"
        ) from error


def _stored(place: Place, piece: Piece) -> Piece:
    """Return the tensor of a single file that a tensor stands in."""
    shape = piece.shape[::-1] if place.transposed else piece.shape
    if place.rows is not None:
        shape = (shape[0] * place.rows[1], *shape[1:])
    if ".attn_1." in place.name and len(shape) == 2:  # of the autoencoder: convolutions of a pixel
        shape = (*shape, 1, 1)
    return Piece(place.name, shape, piece.dtype)
