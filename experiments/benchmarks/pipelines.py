"""A merge of four SDXL from file to file: `evojax-merge apply` against the time of a copy.

Four UNets of SDXL's shape in float16 (2.6 B parameters each, random numbers) become one by the
published weights of Evo-Ukiyoe. The first is a single file with autoencoder and text encoders,
which are carried over; the others are folders of a UNet. The result is a single file. The copy
reads every byte that the merge reads, and writes as many bytes as it writes. Both end on the disk
(fsync). They take turns. Seconds of the merge are those of the whole process, with imports and
compilation, and memory is the peak of its resident pages, those of mapped files too. Linux only. It
needs 38 GB of disk, which it gives back.

    python experiments/benchmarks/pipelines.py --directory /scratch       (about 6 minutes, 2 cores)
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from measure import Row, main, row

from evojax_merge.models.diffusion.architectures import ARCHITECTURES
from evojax_merge.models.diffusion.config import DiffusionConfig
from evojax_merge.models.diffusion.original_names import places
from evojax_merge.models.diffusion.params import layout
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.reference import Ingredient

RECIPE = Path(__file__).parent.parent / "recipes" / "evo_ukiyoe.yaml"
SOURCES = 4
BLOCK = 2**24
"""The number of random elements that a file repeats."""

PIECE = 2**24
"""The number of bytes copied at once."""

Shapes = Mapping[str, tuple[int, ...]]


def benchmark(directory: Path | None, repeats: int) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        work = Path(folder)
        first, *others = [write_source(work, number) for number in range(SOURCES)]
        recipe = write_recipe(work, [first, *others])
        target = work / "merged.safetensors"
        copies, merges = [], []
        for _ in range(repeats):
            copies.append(copy(first, others, work / "copied"))
            (work / "copied").unlink()
            merges.append(merge(recipe, target))
            target.unlink()
    copied = median(copies)
    merged, memory = (median(found) for found in zip(*merges, strict=True))
    return [
        row("four SDXL, file to file", merged, "s", "copy", copied, copied / merged),
        row("four SDXL, peak memory", memory / 1e9, "GB"),
    ]


def write_source(work: Path, number: int) -> Path:
    """Write a source and return the path that a recipe names."""
    configs = ARCHITECTURES["SDXL"]
    config = DiffusionConfig.from_hf(configs)
    slots = layout(config).slots
    if number == 0:
        shapes: dict[str, tuple[int, ...]] = {}
        for name, place in places(config).items():
            shape = slots[name].shape[::-1] if place.transposed else slots[name].shape
            parts = 1 if place.rows is None else place.rows[1]
            shapes[place.name] = (shape[0] * parts, *shape[1:])
        write(work / "sdxl.safetensors", shapes, number)
        return work / "sdxl.safetensors"
    folder = work / f"unet-{number}"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(configs["unet"]))
    own = {n.removeprefix("unet/"): s.shape for n, s in slots.items() if n.startswith("unet/")}
    write(folder / "diffusion_pytorch_model.safetensors", own, number)
    return folder


def write(file: Path, shapes: Shapes, seed: int) -> None:
    """Write a file of random float16 of these shapes, in memory for a block of them."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    block = (0.02 * rng.standard_normal(BLOCK, np.float32)).astype(np.float16).tobytes()
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for first in range(0, offset, len(block)):
            out.write(block[: min(len(block), offset - first)])
        out.flush()
        os.fsync(out.fileno())


def write_recipe(work: Path, sources: Iterable[Path]) -> Path:
    """Write the published recipe for these sources, none of whose parts come from elsewhere."""
    published = Recipe.load(RECIPE)
    own = dataclasses.replace(
        published, sources=tuple(Ingredient(str(path)) for path in sources), carriers={}
    )
    own.save(work / "recipe.yaml")
    return work / "recipe.yaml"


def copy(first: Path, others: Iterable[Path], target: Path) -> float:
    """Return the seconds of reading all sources, and of writing the bytes of the first."""
    started = time.perf_counter()
    with target.open("wb") as out:
        for path in (first, *(other / "diffusion_pytorch_model.safetensors" for other in others)):
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    if path == first:
                        out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return time.perf_counter() - started


def merge(recipe: Path, target: Path) -> tuple[float, float]:
    """Return the seconds of the command, and the bytes of its resident memory at most."""
    command = [sys.executable, "-m", "evojax_merge", "apply", str(recipe), "--out", str(target)]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError("the merge failed")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the files lie meanwhile")
    parser.add_argument("--repeats", type=int, default=3)
    main(benchmark, parser)
