"""Curves of searches and fronts of runs."""

import numpy as np
import pytest

from evojax_merge.fitness import ACCURACY, Measure
from evojax_merge.report.curves import incumbents, load_curve, plot_curves, save_curve
from evojax_merge.report.front import Front, Member, hypervolumes, knee, plot_front
from evojax_merge.report.hypervolume import best_members, non_dominated
from tests.fitness.tasks import LOG_LIKELIHOOD, Counted


def row(generation, fitness, search="evolved", objectives=None):
    found = {
        "search": search,
        "generation": generation,
        "fitness": fitness,
        "genotype": [0.0 if fitness is None else fitness],
        "item_evaluations": 10,
        "seconds": 0.5,
    }
    return found if objectives is None else found | {"objectives": objectives}


HISTORY = [
    *(row(0, fitness) for fitness in (None, 0.2)),
    row(0, 0.9, "random_search"),
    *(row(1, fitness) for fitness in (0.1, 0.3)),
    *(row(2, fitness) for fitness in (0.25, 0.25)),
]


def test_incumbents_are_the_best_so_far_and_what_was_spent():
    found = incumbents(HISTORY, "evolved", 8)
    assert [point.fitness for point in found] == [0.2, 0.3, 0.3]
    assert [point.evaluations for point in found] == [2, 4, 6]
    assert [point.item_evaluations for point in found] == [20, 40, 60]
    assert [point.seconds for point in found] == [1.0, 2.0, 3.0]
    assert [point.generation for point in incumbents(HISTORY, "evolved", 2)] == [0, 2]
    assert incumbents(HISTORY, "evolved", 0) == []
    assert incumbents([row(0, None)], "evolved", 3) == []


def test_candidates_without_genotypes_have_no_curve():
    assert incumbents([{**row(0, 0.5), "genotype": None}], "evolved", 3) == []


def test_curves_are_kept_and_drawn(tmp_path):
    points = incumbents(HISTORY, "evolved", 8)
    save_curve(points, [0.1, 0.4, 0.4], Counted(7), tmp_path / "curve.json")
    curve = load_curve(tmp_path / "curve.json")
    assert curve[1]["heldout"] == 0.4
    scale = {key: curve[1][key] for key in ("split", "items", "measure", "unit")}
    assert scale == {"split": "test", "items": 7, "measure": "accuracy", "unit": "fraction"}
    assert "genotype" not in curve[1]
    plot_curves({"a": [curve, curve[:2]], "b": [curve]}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_curves_of_different_measures_are_in_rows_of_their_own(tmp_path, figures):
    points = incumbents(HISTORY, "evolved", 8)
    runs = {}
    for name, measure in (("_a", ACCURACY), ("b$", LOG_LIKELIHOOD)):
        save_curve(points, [0.1, float("nan"), 0.4], Counted(7, measure), tmp_path / "curve.json")
        runs[name] = [load_curve(tmp_path / "curve.json")]
    plot_curves(runs, tmp_path / "curves.png")
    (figure,) = figures
    labels = [" ".join(axes.get_ylabel().split()) for axes in figure.axes[::3]]
    assert labels == [
        "accuracy, %, of the best so far, 7 items of the test split",
        "log-likelihood, nats per token, of the best so far, 7 items of the test split",
    ]
    legends = [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes[2::3]]
    assert legends == ["_a (1)", "b$ (1)"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata()[-1], 40)


SCORES = [(0.0, 1.0), (0.6, 0.7), (0.5, 0.5), (1.0, 0.0), (0.6, 0.7)]


def front():
    members = [
        Member(f"front/{n}.yaml", {"test": {"math": a, "ja": b}}) for n, (a, b) in enumerate(SCORES)
    ]
    return Front("test", ("math", "ja"), tuple(members), (ACCURACY, Measure("size", "layers")))


def test_members_that_no_other_dominates_each_once():
    assert non_dominated(np.array(SCORES)).tolist() == [True, True, False, True, False]


def test_members_that_failed_are_not_the_best():
    scores = np.array([(0.9, 0.1), (np.nan, 1.0), (0.1, 0.9), (0.1, 0.1)])
    assert best_members(scores).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("choice", "index"), [("knee", 1), ("3", 3), ("math=1", 3), ("math=0.2,ja=0.8", 0)]
)
def test_a_member_by_choice(choice, index, tmp_path):
    front().save(tmp_path)
    assert Front.load(tmp_path).select(choice) == index


def test_the_knee_of_one_point():
    assert knee(np.array([[0.5, 0.5]])) == 0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("5", "has members 0 to 4"),
        ("kne", "did you mean knee"),
        ("maths=1", r"no task 'maths' \(did you mean math"),
        ("math=nan", "weight of math is no finite number: 'nan'"),
        ("²", "there is no task '²'"),
        ("math=x", "weight of math is no finite number: 'x'"),
    ],
)
def test_choices_that_name_no_member(choice, message):
    with pytest.raises(ValueError, match=message):
        front().select(choice)


def test_a_run_without_a_front(tmp_path):
    with pytest.raises(ValueError, match=r"has no front\.json; a run has a front when"):
        Front.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"test": {', '"test": [', "not valid JSON"),
        ('"split": "test"', '"split": 3', "split is 3; give a text"),
        ('"split": "test"', '"split": "search"', "has no score of ja, math"),
        ('"math": 0.6', '"math": NaN', r"members\[1\].scores.test.math is nan; give a finite"),
        ('"math": 0.6', '"math": "0.6"', "math is '0.6'; give a finite number"),
        ('"math": 0.6', '"maths": 0.6', "front/1.yaml has no score of math"),
        ('"recipe": "front/1.yaml"', '"recipe": null', "recipe is None; give a text"),
        ('"members": [', '"members": [], "others": [', "members is empty"),
    ],
)
def test_a_front_that_is_damaged(old, new, message, tmp_path):
    front().save(tmp_path)
    file = tmp_path / "front.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"(?s)front\.json: .*{message}"):
        Front.load(tmp_path)


def test_hypervolume_never_falls(tmp_path):
    history = [row(n // 2, 0.5, objectives=list(score)) for n, score in enumerate(SCORES)]
    volumes, reference = hypervolumes(history, "evolved")
    assert reference == [0.0, 0.0]
    assert volumes == sorted(volumes)
    assert volumes[0] == pytest.approx(0.42)
    assert hypervolumes(HISTORY, "evolved") == ([], [])
    plot_front(front(), history, "evolved", tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 10_000
