"""A generation is scored on a fresh part of the items, as large as its candidates need."""

import jax
import numpy as np
import pytest

from evojax_merge.config import build, compose
from evojax_merge.evolution.evaluate import Evaluation
from evojax_merge.evolution.history import History, read_history
from evojax_merge.evolution.loop import search
from evojax_merge.evolution.scoring import Minibatch, Racing, Scorer, make_rule
from evojax_merge.evolution.scoring.minibatch import spread_of
from evojax_merge.evolution.setups import set_up
from evojax_merge.experiment import Savers
from evojax_merge.report.curves import incumbents
from evojax_merge.strategies import EvosaxStrategy

ITEMS = 256
ON, SMALL = "savers.minibatch.enabled=true", "savers.minibatch.size=64"
EASE = np.random.default_rng(0).random(ITEMS)


def measure(genotypes, rows):
    """An item is solved by whoever is as able as it is hard; abilities are the genotypes."""
    solved = np.asarray(genotypes)[:, :1] > EASE[rows]
    return Evaluation(solved.astype(np.float32), np.zeros(len(genotypes), np.float32))


def population(low, high, count=8):
    return np.linspace(low, high, count, dtype=np.float32)[:, None]


def parts(scorer, candidates, generations):
    """What each generation met."""
    met = [np.isfinite(scorer(candidates).items) for _ in range(generations)]
    for one in met:
        assert (one == one[0]).all()
    return [one[0] for one in met]


def test_candidates_that_differ_clearly_stay_on_few_items_and_each_time_on_others():
    scorer = Scorer(Minibatch(ITEMS, size=ITEMS, first=16), measure, ITEMS)
    met = parts(scorer, population(0.1, 0.9), 12)
    assert [one.sum() for one in met] == [16] * 12
    assert len({one.tobytes() for one in met}) == 12


def test_the_size_grows_to_what_was_asked_for():
    scorer = Scorer(Minibatch(ITEMS, size=16, patience=1), measure, ITEMS)
    assert [one.sum() for one in parts(scorer, population(0.5, 0.503), 6)] == [16] * 6
    scorer = Scorer(Minibatch(ITEMS, size=50, first=16, patience=1), measure, ITEMS)
    assert [one.sum() for one in parts(scorer, population(0.5, 0.503), 4)] == [16, 32, 50, 50]


def test_candidates_that_are_close_get_more_and_at_last_all_items():
    scorer = Scorer(Minibatch(ITEMS, size=ITEMS, first=16, patience=2), measure, ITEMS)
    sizes = [int(one.sum()) for one in parts(scorer, population(0.5, 0.503), 14)]
    assert sizes == [16] * 2 + [32] * 2 + [64] * 2 + [128] * 2 + [256] * 6
    rng = np.random.default_rng(1)
    noise = Scorer(
        Minibatch(ITEMS, size=ITEMS, first=16, patience=2),
        lambda genotypes, rows: Evaluation(
            rng.random((len(genotypes), len(rows))).astype(np.float32), np.zeros(8)
        ),
        ITEMS,
    )
    assert parts(noise, population(0, 1), 20)[-1].all()


def test_the_share_of_the_variance_is_that_of_a_model_where_it_is_known():
    rng = np.random.default_rng(0)
    candidates, items, own, left = 9, 40, 0.3, 2.0
    spreads = []
    for _ in range(400):
        ability, ease = rng.normal(0, own, (candidates, 1)), rng.normal(0, 5, items)
        spreads.append(spread_of(ability + ease + rng.normal(0, left, (candidates, items))))
    total, noise = np.mean(spreads, axis=0)
    assert noise == pytest.approx(left**2 / items, rel=0.03)
    assert total - noise == pytest.approx(own**2, rel=0.1)
    assert spread_of(np.full((1, 9), 0.5)) is None


def test_scores_of_different_generations_compare_by_what_is_assured():
    scorer = Scorer(Minibatch(ITEMS, size=ITEMS, first=16, patience=1), measure, ITEMS)
    first = scorer(population(0.5, 0.503))
    expected = np.sqrt(
        first.items[:, np.isfinite(first.items[0])].var(axis=1, ddof=1).mean() * (15 / 16) / 16
    )
    np.testing.assert_allclose(first.error, expected, rtol=1e-5)
    np.testing.assert_allclose(first.assured, first.fitness - 2 * first.error)
    errors = [scorer(population(0.5, 0.503)).error for _ in range(4)]
    assert errors[0][0] < expected
    assert errors[-1] is None  # on all items nothing is left to chance
    rows = [
        {"search": "s", "genotype": [g], "item_evaluations": 1, "seconds": 0.0, "generation": g}
        for g in range(3)
    ]
    scores = [{"fitness": 0.9, "error": 0.2}, {"fitness": 0.6, "error": 0.0}, {"fitness": 0.55}]
    found = incumbents([row | score for row, score in zip(rows, scores, strict=True)], "s", 3)
    assert [point.genotype for point in found] == [[0], [1], [1]]


def test_whoever_fails_has_no_fitness_and_says_nothing_of_the_noise():
    def failing(genotypes, rows):
        found = measure(genotypes, rows)
        found.items[np.ix_(genotypes[:, 0] > 0.8, rows == rows[0])] = np.nan
        return found

    scorer = Scorer(Minibatch(ITEMS, size=ITEMS, first=16, patience=2), failing, ITEMS)
    found = [scorer(population(0.1, 0.9)) for _ in range(4)][-1]
    assert np.isnan(found.fitness[-1:]).all()
    assert np.isfinite(found.fitness[:-1]).all()
    assert np.isfinite(found.error).all()
    everyone = Scorer(
        Minibatch(ITEMS, size=ITEMS, first=128, patience=1),
        lambda genotypes, rows: Evaluation(np.full((8, len(rows)), np.nan), np.zeros(8)),
        ITEMS,
    )
    assert all(np.isnan(everyone(population(0, 1)).fitness).all() for _ in range(3))


def test_a_search_takes_more_items_as_it_settles_and_keeps_what_is_assured(tmp_path):
    history = History(tmp_path / "history.jsonl")
    state = search(
        "s",
        EvosaxStrategy("CMA_ES", lower=[0.0], upper=[1.0], population_size=8),
        Scorer(Minibatch(ITEMS, size=ITEMS, first=16, patience=2), measure, ITEMS),
        key=jax.random.key(0),
        generations=16,
        archive_size=4,
        history=history,
    )
    rows = list(read_history(history.path))
    assert rows[0]["item_evaluations"] == 16
    assert rows[-1]["item_evaluations"] > 16
    assured = [row["fitness"] - 2 * row.get("error", 0) for row in rows]
    np.testing.assert_allclose(state.archive.fitness[0], max(assured), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Minibatch(127), "size is 128, and the search split has 127 items; give a smaller"),
        (lambda: Minibatch(ITEMS, size=1), "size must be a whole number of at least 2"),
        (lambda: Minibatch(ITEMS, first=129), "first is 129, more than savers.minibatch.size, 128"),
        (lambda: Minibatch(ITEMS, first=0), "first must be a whole number of at least 2"),
        (lambda: Minibatch(ITEMS, patience=0), "patience must be a whole number of at least 1"),
        (lambda: Minibatch(ITEMS, reliability=1), "reliability is 1; give a number between 0"),
        (
            lambda: make_rule(Savers(racing={}, minibatch={}), range(ITEMS), object()),
            r"savers\.minibatch and savers\.racing both choose the items of a generation",
        ),
    ],
)
def test_minibatches_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def strategy_of(algorithm):
    return EvosaxStrategy(algorithm, lower=[0.0] * 3, upper=[1.0] * 3, population_size=8)


@pytest.mark.parametrize("name", ["cma_es", "cr_fm_nes", "snes", "optuna_cma", "auto"])
def test_strategies_that_average(name):
    experiment = build(compose(["+experiment=quickstart", f"strategy={name}", ON, SMALL]))
    assert set_up(experiment).describe()[0].endswith("300 evaluations of 64 of 128 items")


@pytest.mark.parametrize("name", ["random", "differential_evolution", "coordinate", "memetic"])
def test_strategies_that_keep_the_best_would_keep_the_luckiest(name):
    named = "RandomSearch|DifferentialEvolution|Coordinate|Memetic"
    with pytest.raises(ValueError, match=f"({named}).* does not average .* but keeps the best"):
        set_up(build(compose(["+experiment=quickstart", f"strategy={name}", ON, SMALL])))


def test_a_rule_alone_is_made():
    strategy = strategy_of("CMA_ES")
    assert isinstance(make_rule(Savers(minibatch={}), range(ITEMS), strategy), Minibatch)
    assert isinstance(make_rule(Savers(racing={}), range(ITEMS), strategy), Racing)
