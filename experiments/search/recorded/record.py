"""Record candidates of an experiment, with what they answer to each item.

    python -m experiments.search.recorded.record clip_48 [--candidates 10000] [--share 0.5]

A fifth is uniform in the box, a tenth lies around the start, and the rest are the generations of
searches: strategies whose distribution narrows, and one that keeps a population, four seeds of each
at a time. Half of the seeds hear all that is measured, half only a few items, so that what a
search comes to that fits few items is recorded too. What was measured is kept at once and never
measured again: give the same command after an interruption, or more candidates.
"""

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evojax_merge.params.types import Float, Int
from evojax_merge.strategies import Setting
from experiments.search.recorded.benchmarks import BENCHMARKS, Benchmark
from experiments.search.recorded.real import Real
from experiments.search.recorded.records import FOLDER, Shard, joined
from experiments.search.recorded.searches import Populations, contestant, search

STRATEGIES = ("cma_es", "cr_fm_nes", "differential_evolution", "open_es")
SEEDS = (0, 1, 2, 3)
UNIFORM, AROUND = 0.2, 0.1
"""Shares of the candidates that are uniform in the box, and around the start."""
BLOCK = 50
"""Candidates of a shard that no search proposed."""
FEW = 32
"""Items that the odd seeds hear."""
NONE = np.zeros(0, np.int64)


class Recorder:
    """What measures shards, and keeps them.

    Args:
        real: What measures.
        folder: Where they are kept.
        share: The part of the items that is measured.
    """

    def __init__(self, real: Real, folder: Path, share: float) -> None:
        self.real, self._folder, self._share = real, folder, share
        self.shards: list[Shard] = []
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(
        self,
        design: str,
        number: int,
        genotypes: Float[np.ndarray, "pop dims"],
        seeds: Int[np.ndarray, " pop"],
        always: Int[np.ndarray, " rows"] = NONE,
    ) -> Shard:
        """The results of some candidates, measured unless they are known.

        Args:
            design: How they were proposed.
            number: Which shard of the design this is.
            genotypes: The candidates.
            seeds: The seed that each belongs to.
            always: Items that are measured in any case.
        """
        path = self._folder / f"{design}_{number:04d}_{self._share:g}.npz"
        if path.exists():
            shard = Shard.load(path)
        else:
            rng = np.random.default_rng((zlib.crc32(design.encode()), number))
            rows = self.real.sample(rng, self._share, always)
            exact = genotypes.astype(np.float16)
            results = self.real(exact.astype(np.float32), rows).astype(bool)
            shard = Shard(design, exact, seeds, rows, results)
            shard.save(path)
        self.shards.append(shard)
        return shard


class Trajectories:
    """The landscape of a strategy's recorded searches.

    Args:
        recorder: What measures and keeps.
        design: What the shards are called.
    """

    def __init__(self, recorder: Recorder, design: str) -> None:
        self._recorder, self._design, self._generation = recorder, design, 0
        space = recorder.real.space
        span = getattr(space, "span", None)
        # Of a single item, since what is heard is the mean of what was measured.
        self.setting = Setting(space.lower, space.upper, space.start, span, items=1)
        rng = np.random.default_rng(zlib.crc32(design.encode()))
        searched = recorder.real.searched
        self._few = np.sort(rng.choice(searched, min(FEW, searched), replace=False))

    def results(self, populations: Populations) -> Float[np.ndarray, "seeds pop 1"]:
        """The mean of the search items that each candidate was measured on, or of the few."""
        count, size, dims = populations.shape
        flat = populations.reshape(-1, dims)
        seeds = np.repeat(SEEDS, size)
        shard = self._recorder(self._design, self._generation, flat, seeds, self._few)
        self._generation += 1
        heard = shard.rows < self._recorder.real.searched
        few = np.isin(shard.rows, self._few)
        means = [shard.results[:, which].mean(1).reshape(count, size) for which in (heard, few)]
        odd = np.asarray(SEEDS)[:, None] % 2 == 1
        return np.where(odd, means[1], means[0]).astype(np.float32)[..., None]

    def scores(self, genotypes: Float[np.ndarray, "seeds dims"]) -> Float[np.ndarray, " seeds"]:
        """Nothing, since a recorded search is not scored."""
        return np.full(len(genotypes), np.nan)


def designs(recorder: Recorder, candidates: int) -> Iterator[str]:
    """Measure candidates of all designs, and say which shard was measured."""
    space = recorder.real.space
    lower, upper, start = (np.asarray(x) for x in (space.lower, space.upper, space.start))
    for design, share in (("uniform", UNIFORM), ("around", AROUND)):
        for number in range(round(share * candidates / BLOCK)):
            rng = np.random.default_rng((zlib.crc32(design.encode()), number, 1))
            size = (BLOCK, len(lower))
            if design == "uniform":
                genotypes = rng.uniform(lower, upper, size)
            else:  # a search's first deviation is a sixth of the range; half of it to twice it
                sigma = (upper - lower) / 6 * 2.0 ** rng.uniform(-1, 1, (BLOCK, 1))
                genotypes = np.clip(start + sigma * rng.normal(size=size), lower, upper)
            recorder(design, number, genotypes, np.full(BLOCK, number))
            yield f"{design} {number}"
    each = (1 - UNIFORM - AROUND) * candidates / len(STRATEGIES) / len(SEEDS)
    for name in STRATEGIES:
        landscape = Trajectories(recorder, name)
        overrides = [f"strategy={name}", "savers.minibatch.enabled=false"]
        for standing in search(contestant(overrides, landscape.setting), landscape, SEEDS):
            yield f"{name} {standing.candidates}"
            if standing.candidates >= each:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--share", type=float, help="of the items, for each candidate")
    parser.add_argument("--out", type=Path, default=Path("runs/search/recorded"))
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("candidates", "share")}
    chosen: Benchmark = BENCHMARKS[options.name]._replace(
        **{name: value for name, value in given.items() if value is not None}
    )
    real = Real(chosen.overrides)
    recorder = Recorder(real, options.out / options.name, chosen.share)
    for line in designs(recorder, chosen.candidates):
        if len(recorder.shards) % 20 == 0:
            print(options.name, line, flush=True)
    space = real.space
    bounds = tuple(np.asarray(x, np.float32) for x in (space.lower, space.upper, space.start))
    record = joined(recorder.shards, chosen.overrides, bounds, real.searched, real.items)
    path = FOLDER / f"{options.name}.npz"
    record.save(path)
    accuracy = record.means(slice(record.searched, None))
    print(
        f"{path.name}: {len(record.genotypes):,} candidates of {real.space.dims} genes on "
        f"{record.searched} + {record.items - record.searched} items, "
        f"{chosen.share:.0%} of them each; held-out accuracy {accuracy.min():.3f} to "
        f"{accuracy.max():.3f}; {path.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
