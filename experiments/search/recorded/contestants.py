"""The strategies and savers that are compared, by name."""

from collections.abc import Mapping

from evojax_merge.savers.minibatch import LEAST

MINIBATCH = "savers.minibatch.enabled=true"
RACING = "savers.racing.enabled=true"
ANCHORS = "savers.anchors.enabled=true"

SAVERS: Mapping[str, tuple[str, ...]] = {
    "minibatch": (MINIBATCH,),
    "racing": (RACING,),
    "racing from half": (RACING, "savers.racing.rungs=[4,8]"),
    "anchors": (ANCHORS,),
}
NAMES = (
    "random",
    "cma_es",
    "cr_fm_nes",
    "snes",
    "open_es",
    "differential_evolution",
    *(f"{strategy} + minibatch" for strategy in ("cma_es", "cr_fm_nes", "snes", "open_es")),
    "cr_fm_nes + racing",
)
"""What is compared where no names are given. Others, as `surrogate` and whatever has anchors, fit
a model in every generation of every seed, for seconds each.
"""


def overrides(name: str, items: int) -> list[str]:
    """What configures a contestant on so many items.

    A minibatch is a quarter of the items, at least the fewest that it may be.

    Args:
        name: A strategy of ``conf/strategy``, and after a plus one of `SAVERS`.
        items: The number of search items.

    Raises:
        ValueError: There is no such saver.
    """
    strategy, _, saver = name.partition(" + ")
    if saver and saver not in SAVERS:
        raise ValueError(f"{name}: no saver is called {saver!r}; choose among {', '.join(SAVERS)}")
    chosen = [f"strategy={strategy}", *SAVERS.get(saver, ())]
    if saver == "minibatch":
        return [*chosen, f"savers.minibatch.size={max(LEAST, items // 4)}"]
    return [*chosen, "savers.minibatch.enabled=false"]
