"""A plan as tables for people, and as JSON."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table

from evojax_merge.documents.terminal import cell, say
from evojax_merge.planning.counting import Planned
from evojax_merge.planning.plan import Plan, SearchPlan


def show(plan: Plan, console: Console) -> None:
    """Print a plan: what fits, by how much, and how long it takes at least."""
    figures = plan.figures
    bandwidth = "" if figures.bandwidth is None else f", {figures.bandwidth / 1e12:.2f} TB/s"
    say(
        console,
        f"{plan.devices} × {plan.device}: {_gb(figures.memory)} each{bandwidth}, "
        f"{figures.narrow / 1e12:.4g} TFLOP/s in 16 bits ({figures.source})",
        label=plan.topology,
    )
    for search in plan.searches:
        _show_search(search, plan, console)
    for note in plan.notes:
        say(console, f"assumed: {note}")
    verdict = "everything fits" if plan.fits else "it does not fit"
    say(console, _verdict(plan), label=f"{verdict}:" if _verdict(plan) else verdict)


def _show_search(search: SearchPlan, plan: Plan, console: Console) -> None:
    memory = plan.figures.memory
    columns = [_column(one, memory) for one in search.programs]
    table = Table(title=cell(f"{search.name}, on each device"), title_justify="left")
    table.add_column("", no_wrap=True)
    for one in search.programs:
        table.add_column(cell(_head(one)), justify="right", overflow="fold")
    for row in columns[0]:
        table.add_row(cell(row), *(cell(column[row]) for column in columns))
    console.print(table)
    say(console, f"{search.space}; {search.parameters / 1e9:.4g} B parameters in {search.dtype}")
    slots = ", ".join(f"{n} in {split}" for split, n in search.slots.items() if n) or "all answers"
    say(
        console,
        f"mesh: pop {search.pop} × model {search.model} (the least model that fits: "
        f"{search.least_model or 'none'}); {search.chunk} candidates at a time, {slots} at a time",
    )
    say(
        console,
        f"each device holds: materials {_gb(search.materials)}, shared {_gb(search.shared)}, "
        f"candidates {_gb(search.candidates)}, items {_gb(search.batches)}",
    )
    say(
        console,
        f"at least {_time(search.seconds_per_candidate)} a candidate on each of {search.pop} "
        f"groups, {_time(search.seconds)} for {search.evaluations} candidates × {search.items} "
        "items",
    )


def document(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain values, in bytes and seconds."""
    found: dict[str, Any] = dataclasses.asdict(plan)
    found["figures"] = plan.figures._asdict()
    found["fits"] = plan.fits
    memory = plan.figures.memory
    for search, written in zip(plan.searches, found["searches"], strict=True):
        written["seconds_per_candidate"] = search.seconds_per_candidate
        written["fits"] = search.fits(memory)
        for one, row in zip(search.programs, written["programs"], strict=True):
            row["peak"], row["left"] = one.peak, one.left(memory)
            row |= row.pop("cost")
    return found


def _head(one: Planned) -> str:
    return "\n".join([one.cost.name, *([", ".join(one.splits)] if one.splits else [])])


def _column(one: Planned, memory: float) -> dict[str, str]:
    """What is said of a program, by the names of rows."""
    cost, left = one.cost, one.left(memory)
    refused = cost.refused is not None
    kinds = ", ".join(f"{count} {kind}" for kind, count in cost.collectives.items())
    return {
        "arguments": "–" if refused else _gb(cost.arguments),
        "temporaries": _gb(cost.temporaries) if cost.temporaries or not refused else "–",
        "peak with all else": "refused" if refused else _gb(one.peak),
        "fits": f"{_gb(left)} left" if left >= 0 else f"no, {_gb(-left)} short",
        "moved": "–" if cost.moved is None else _gb(cost.moved),
        "needed": _gb(cost.needed),
        "operations": f"{cost.operations:.3g}",
        "collectives": "–" if refused else kinds or "none",
        "seconds at least": _time(one.seconds),
        "bound by": one.bound,
        "compiled in": _time(cost.compiling),
    }


def _verdict(plan: Plan) -> str:
    short = [
        f"{one.cost.name} of {search.name} lacks {_gb(-one.left(plan.figures.memory))}"
        for search in plan.searches
        for one in search.programs
        if one.left(plan.figures.memory) < 0
    ]
    if short:
        least = {search.least_model for search in plan.searches}
        hint = f"; set mesh.model={max(least)}" if None not in least else ""  # type: ignore[type-var]
        needed = max((search.least_model or 0) for search in plan.searches)
        same = all(search.model >= needed for search in plan.searches)
        return "; ".join(short) + ("" if same else hint)
    total = sum(search.seconds for search in plan.searches)
    return f"at least {_time(total)} in all, without loading, scoring by the host and communication"


def _gb(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= unit / 10:
            digits = f"{count / unit:.2f}" if unit == 1e9 else f"{count / unit:.3g}"
            return f"{digits} {name}"
    return f"{count:.0f} B"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
