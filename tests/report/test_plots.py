"""What pictures say of what they show, and names that look like something else."""

from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.fitness import Measure
from evojax_merge.recipes.path import Hop
from evojax_merge.report.front import Front, Member, plot_front
from evojax_merge.report.paths import plot_path, plot_path_history
from evojax_merge.report.plots import plot_coefficients, plot_fitness
from tests.fitness.tasks import LOG_LIKELIHOOD, Counted, several

HOSTILE = ["a$b$", "_x", "$\\frac{1}$", "un$balanced", "日本", "\udcff", "\x1b[31m", "100 %"]


def row(generation, fitness, search="evolved", **more):
    return {"search": search, "generation": generation, "fitness": fitness, **more}


def labels(figure):
    return [" ".join(axes.get_ylabel().split()) for axes in figure.axes]


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.get_yticklabels()}


def test_the_fitness_of_one_task_has_its_measure_unit_items_and_split(tmp_path, figures):
    plot_fitness([row(0, 0.25), row(0, None), row(1, 0.5)], tmp_path / "f.png", Counted(9))
    assert labels(figures[0]) == ["accuracy, %, 9 items of the search split"]
    np.testing.assert_array_equal(figures[0].axes[0].lines[0].get_ydata(), [25, 50])


def test_several_tasks_have_a_panel_each(tmp_path, figures):
    task = several({"math": 1}, math=Counted(9), text=Counted(3, LOG_LIKELIHOOD))
    history = [row(0, 0.2, objectives=[0.2, -3.0]), row(1, None, objectives=[None, -2.0])]
    plot_fitness(history, tmp_path / "f.png", task)
    assert labels(figures[0]) == [
        "fitness = 1 × accuracy (math), %, 12 items of the search split",
        "math: accuracy, %, 9 items of the search split",
        "text: log-likelihood, nats per token, 3 items of the search split",
    ]
    np.testing.assert_array_equal(figures[0].axes[2].lines[0].get_ydata(), [-3, -2])


def test_a_search_by_a_score_of_its_own_has_an_axis_of_its_own(tmp_path, figures):
    history = [row(0, -0.7), row(0, 0.5, "random_search")]
    own = {"evolved": Measure("minus entropy of the predictions", "nats")}
    plot_fitness(history, tmp_path / "f.png", Counted(9), own)
    assert labels(figures[0]) == [
        "minus entropy of the predictions, nats, 9 items of the search split",
        "accuracy, %, 9 items of the search split",
    ]


@pytest.mark.few(2)
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_neither_formulas_nor_left_out(name, tmp_path, figures):
    drawn = name.replace("\udcff", "?")
    segment = SimpleNamespace(label=name)
    plot_coefficients({name: np.ones((2, 1))}, [name, "b"], [segment], tmp_path / "c.png")
    assert drawn in texts(figures[-1])
    assert figures[-1].axes[0].get_title() == drawn
    plot_path([Hop(name, 0, 1.0), Hop("b", 1, 0.5)], {name: 2, "b": 2}, tmp_path / "p.png")
    assert drawn in texts(figures[-1])
    path = SimpleNamespace(length=np.array([2]), layer=np.array([[0, 1]]))
    space = SimpleNamespace(
        sources=(name, "b"), layers=(1, 1), hops=2, decode_all=lambda genotypes: (path, None)
    )
    plot_path_history([row(0, 0.1, genotype=[0.0])], "evolved", space, tmp_path / "h.png")
    legend = figures[-1].axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [drawn, "b"]
    task = several(**{name: Counted(9), "b": Counted(9)})
    plot_fitness([row(0, 0.1, objectives=[0.1, 0.1])], tmp_path / "f.png", task)
    assert drawn in figures[-1].axes[1].get_ylabel()
    member = Member("front/0.yaml", {"search": {name: 0.5, "b": 0.25}})
    measures = tuple(one.measure for one in task.tasks.values())
    front = Front("search", (name, "b"), (member,), measures)
    plot_front(front, [row(0, 0.1, objectives=[0.1, 0.2])], "evolved", tmp_path / "o.png")
    assert drawn in figures[-1].axes[0].get_xlabel()
    for figure in figures:
        for axes in figure.axes:
            assert not axes.yaxis.label.get_parse_math()
            assert not axes.title.get_parse_math()
