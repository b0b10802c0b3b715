"""What a run was made of and how: what was searched, the models, the machine."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.html.kept import Kept
from evojax_merge.report.results import EVOLVED
from evojax_merge.sources.reference import Ingredient


def facts(kept: Kept) -> list[tuple[str, str]]:
    """What was searched, as pairs of a head and a text."""
    found: list[tuple[str, str]] = []
    searches, config = kept.searches, kept.config
    operator = _part(config, "operator")
    if operator and not isinstance(kept.recipe, WeightsRecipe):
        found.append(("operator", operator))
    if not searches:
        found.append(("space", _part(config, "space")))
    planned = searches.searches if searches else {}
    for name, one in planned.items():
        head = "search" if name == EVOLVED and len(planned) == 1 else f"search, {name}"
        found.append(
            (head, f"{one.space}; {one.strategy}, population {one.population}, "
                   f"{one.evaluations} evaluations by {one.measure.head}")
        )  # fmt: skip
    if not searches:
        found.append(("strategy", _part(config, "strategy")))
        search = config.get("search")
        if isinstance(search, Mapping):
            found.append(("budget", f"{search.get('evaluations')} evaluations"))
    if searches:
        found.append(("measured", f"{searches.task}: {searches.measure.head}"))
        items = [
            f"{split} {', '.join(f'{n} of {k}' if k else str(n) for k, n in own.items())}"
            for split, own in searches.items.items()
        ]
        found.append(("items", "; ".join(items)))
        weights = [f"{name} {weight:.3g}" for name, weight in searches.weights.items()]
        if weights:
            found.append(("weights in the fitness", ", ".join(weights)))
    else:
        found.append(("measured", _part(config, "fitness")))
    found.append(("seed", str(config.get("seed", ""))))
    found += made_on(kept.sessions)
    if getattr(kept.recipe, "dtype", None):
        found.append(("dtype", str(kept.recipe.dtype)))  # type: ignore[union-attr]
    return [(head, text) for head, text in found if text]


def _part(config: Mapping[str, Any], key: str) -> str:
    """The name of what a group of the configuration chooses, and its plain settings."""
    given = config.get(key)
    if not isinstance(given, Mapping):
        return ""
    target = str(given.get("_target_", "")).rsplit(".", 1)[-1]
    plain = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in given.items()
        if not str(name).startswith("_") and isinstance(value, str | int | float) and key != "space"
    ]
    shown = ", ".join(one for one in plain if len(one) <= 60)
    return f"{target} ({shown})" if shown else target


class ModelRow(NamedTuple):
    """A model that was merged."""

    name: str
    path: str
    sha256: str


def models(kept: Kept) -> list[ModelRow]:
    """The base and the sources, with their hashes where the recipe has them."""
    given = kept.config.get("model")
    if not isinstance(given, Mapping):
        return []
    hashes = _hashes(kept.recipe)
    sources = given.get("sources")
    paths = [str(one) for one in sources] if isinstance(sources, list) else []
    names = given.get("names")
    if not isinstance(names, list) or len(names) != len(paths):
        names = [one.rstrip("/").split("/")[-1].removesuffix(".safetensors") for one in paths]
    rows = [ModelRow(str(n), p, hashes.get(p, "")) for n, p in zip(names, paths, strict=True)]
    base = given.get("base")
    first = [ModelRow("base", str(base), hashes.get(str(base), ""))] if base else []
    return first + rows


def _hashes(recipe: Any) -> dict[str, str]:
    if isinstance(recipe, PathRecipe):
        members = [recipe.base, *recipe.pool.values()]
        nested = [_hashes(one) for one in members if isinstance(one, Recipe)]
        own = {k: v for one in nested for k, v in one.items()}
        return own | {o.path: str(o.sha256) for o in members if isinstance(o, Ingredient)}
    if isinstance(recipe, Recipe):
        every = [recipe.base, *recipe.sources]
        return {one.path: str(one.sha256) for one in every if one is not None}
    return {}


def flattened(tree: Mapping[str, Any], most: int = 80) -> list[tuple[str, str]]:
    """The leaves of nested mappings, each with its keys, as texts."""
    found: list[tuple[str, str]] = []

    def walk(head: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, part in value.items():
                walk(f"{head}, {key}" if head else str(key), part)
        elif isinstance(value, list):
            if value and all(isinstance(part, Mapping | list) for part in value):
                for number, part in enumerate(value):
                    walk(f"{head} {number}", part)
            else:
                found.append((head, ", ".join(map(str, value))))
        elif value is not None:
            found.append((head, str(value)))

    walk("", tree)
    return [(head, text[:500]) for head, text in found[:most]]


def provenance(sessions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """All that is kept of the sessions of a run."""
    if len(sessions) == 1:
        return flattened(sessions[0])
    return flattened({f"session {number}": one for number, one in enumerate(sessions, 1)})


def made_on(sessions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """When a run was begun, and on which devices and with which versions it was worked on last."""
    if not sessions:
        return []
    last = sessions[-1]
    parts = {
        key: value if isinstance(value := last.get(key), Mapping) else {}
        for key in ("devices", "versions")
    }
    devices, versions = parts["devices"], parts["versions"]
    shown = [f"{name} {versions[name]}" for name in ("evojax-merge", "jax") if name in versions]
    kind = devices.get("kind")
    found = [
        ("begun", str(sessions[0].get("started") or "")),
        ("devices", f"{devices.get('count')} × {kind}" if kind else ""),
        ("versions", ", ".join(shown)),
    ]
    return [(head, text) for head, text in found if text]
