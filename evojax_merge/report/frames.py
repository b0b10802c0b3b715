"""What a run left as pandas tables, for notebooks."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evojax_merge.documents.terminal import printable
from evojax_merge.report.results import Result, flat, interval_text
from evojax_merge.search.history import read_history

if TYPE_CHECKING:
    from pandas import DataFrame


class PandasError(ValueError, ImportError):
    """The error that a table is asked for, and pandas is not installed."""


def pandas() -> Any:
    """The module pandas.

    Raises:
        PandasError: It is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise PandasError("tables need pandas: pip install 'evojax-merge[notebook]'") from None
    return pandas


def history_frame(path: Path) -> "DataFrame":
    """A row for every candidate that was evaluated, in order, as `history.jsonl` has them.

    Raises:
        PandasError: pandas is not installed.
    """
    return pandas().DataFrame(list(read_history(path)))


def results_frame(results: Sequence[Result]) -> "DataFrame":
    """A row for every result; scores of single tasks are columns ``TASK.score`` and so on.

    Raises:
        PandasError: pandas is not installed.
    """
    return pandas().DataFrame(list(map(result_row, results)))


def result_row(result: Result) -> dict[str, Any]:
    """A result in one row, with the scores of its single tasks as ``TASK.score`` and so on."""
    tasks = {
        f"{name}.{key}": value
        for name, task in result.tasks.items()
        for key, value in flat(task).items()
    }
    return flat(result) | tasks


def results_html(results: Sequence[Result], title: str) -> str:
    """Results of one split as a table of HTML, in which no name of a stranger acts."""
    heads = ("method", results[0].head, "95 % interval", "evaluations")
    rows = [
        (
            one.name,
            one.measure.text(one.score),
            interval_text(one) or "–",
            str(one.evaluations or "–"),
        )
        for one in results
    ]
    lines = [
        f"<tr>{''.join(f'<{tag}>{_escaped(text)}</{tag}>' for text in cells)}</tr>"
        for tag, cells in (("th", heads), *(("td", row) for row in rows))
    ]
    caption = f"{title}, {results[0].counted}"
    return f"<table><caption>{_escaped(caption)}</caption>{''.join(lines)}</table>"


def _escaped(text: str) -> str:
    return escape(printable(text))
