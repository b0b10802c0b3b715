"""What the runs of a sweep were asked for, key by key."""

from collections.abc import Mapping, Sequence

SEED = "seed"
"""The key in which repetitions of the same setting differ."""


def swept(overrides: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """The keys in which runs differ, with each run's value of them.

    A key that a run was not given has the value ``""``, and one that it was told to leave out
    (``~KEY``) has ``~``. Of a single run, all of its keys are listed.

    Args:
        overrides: What each run was asked for.
    """
    asked = [dict(map(_key_and_value, one)) for one in overrides]
    keys = dict.fromkeys(key for one in asked for key in one)
    every = [{key: one.get(key, "") for key in keys} for one in asked]
    if len(every) > 1:
        keys = {key: None for key in keys if len({one[key] for one in every}) > 1}
    return [{key: one[key] for key in keys} for one in every]


def setting_of(values: Mapping[str, str]) -> str:
    """The name of what repetitions with other seeds share, e.g. ``strategy=cma_es``."""
    return " ".join(f"{key}={value}" for key, value in values.items() if key != SEED) or "all"


def _key_and_value(override: str) -> tuple[str, str]:
    key, equals, value = override.lstrip("+").partition("=")
    if key.startswith("~"):
        return key[1:], "~"
    return key, value if equals else ""
