"""What part of a copy's bandwidth a candidate of the span family reaches at a UNet's shapes.

The UNet is that of `unet.py`, 98 M parameters in float32, its transformer blocks stacked. Three
sources and the base lie in memory. How it is measured and what is counted stands in `bandwidth.py`.

    python experiments/benchmarks/merging_unets.py --cores 1          (1 to 4 minutes)
"""

import argparse

import jax
from bandwidth import Bench, tuned
from measure import Row, main, row
from operators import SOURCES
from unet import CONFIG

from evojax_merge.models.family import UNET

SPAN = ("slerp", "nuslerp", "multislerp", "karcher", "geometric_median")
NAMES = ("linear", "task_arithmetic", *SPAN, "ties", "dare_ties")


def benchmark(names: list[str]) -> list[Row]:
    layout = UNET.layout(UNET.config_from_hf(CONFIG))
    base = UNET.init_params(UNET.config_from_hf(CONFIG), jax.random.key(0))
    sources = tuple(tuned(base, seed) for seed in range(1, SOURCES + 1))
    bench = Bench(base, sources, layout.stacked)
    rows = []
    for name in names:
        found = bench.measure(name)
        print(f"{name:18} {found}", flush=True)
        head, copied = f"{name}, unet", found.copied / 1e9
        rows += [
            row(f"{head}: candidate", found.seconds, "s"),
            row(head, found.share * copied, "GB/s", "copy", copied, found.share),
            row(f"{head}: temporary", found.temporary, "models"),
        ]
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES))
    main(benchmark, parser)
