"""The experiments that are recorded, by name."""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """An experiment whose candidates are recorded.

    Attributes:
        overrides: What composes the experiment.
        share: The part of the items that each candidate is measured on.
        candidates: How many candidates are recorded.
    """

    overrides: tuple[str, ...]
    share: float = 1.0
    candidates: int = 10_000


CLIP = "+experiment=digits_clip"
KINDS = '+space.groups={attention: [attention], mlp: [mlp], norm: [norm], rest: "*"}'
MATRICES = (
    "+space.groups={query: [q_proj], key: [k_proj], value: [v_proj], out: [out_proj], "
    'fc1: [fc1], fc2: [fc2], norm: [norm], rest: "*"}'
)

BENCHMARKS: dict[str, Benchmark] = {
    "digits_4": Benchmark(("+experiment=digits_halves",)),
    "digits_8": Benchmark(("+experiment=digits_halves", "operator=dare_ties")),
    "digits_30": Benchmark(("+experiment=digits",)),
    "clip_15": Benchmark((CLIP,), 0.5, 6_000),
    "clip_48": Benchmark((CLIP, KINDS), 0.5, 8_000),
    "clip_216": Benchmark((CLIP, MATRICES, "operator=dare_ties"), 0.5, 6_000),
    "quickstart_24": Benchmark(("+experiment=quickstart",), 0.125, 7_000),
}
