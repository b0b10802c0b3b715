"""A generation is scored on a fresh part of the items, those that tell candidates apart first."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.config import ConfigError, build, compose
from evojax_merge.config.experiment import Savers
from evojax_merge.fitness.several import BoundSeveral
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.models.request import Draw
from evojax_merge.report.curves import incumbents
from evojax_merge.runs.preparation import set_up
from evojax_merge.savers import Minibatch, Racing, Scorer, fitting, make_rule
from evojax_merge.savers.sampling import draw, inclusion
from evojax_merge.search.history import History, read_history
from evojax_merge.search.loop import search
from evojax_merge.strategies import EvosaxStrategy, Setting

ITEMS = 256
ON, SMALL = "savers.minibatch.enabled=true", "savers.minibatch.size=64"
EASE = np.random.default_rng(5).random(ITEMS)


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
    return np.array([one[0] for one in met])


@pytest.mark.parametrize("informative", [True, False])
def test_each_generation_meets_as_many_items_and_others(informative):
    scorer = Scorer(Minibatch(ITEMS, size=32, informative=informative), measure, ITEMS)
    met = parts(scorer, population(0.1, 0.9), 12)
    assert (met.sum(axis=1) == 32).all()
    assert len({one.tobytes() for one in met}) == 12


@pytest.mark.slow
def test_items_on_which_candidates_differ_come_up_more_often_and_the_others_still_do():
    differ = (EASE > 0.5) & (EASE < 0.6)
    met = parts(Scorer(Minibatch(ITEMS, size=32), measure, ITEMS), population(0.5, 0.6), 400)
    often, seldom = met[30:, differ].mean(), met[30:, ~differ].mean()
    assert often > 4 * seldom
    assert met.any(axis=0).all()
    alike = Scorer(Minibatch(ITEMS, size=32, informative=False), measure, ITEMS)
    met = parts(alike, population(0.5, 0.6), 400)
    assert met[:, differ].mean() == pytest.approx(met[:, ~differ].mean(), rel=0.1)


def generations(informative, candidates, count=300, warm=30):
    """Fitness of the same candidates in many generations, and the errors that were stated."""
    scorer = Scorer(Minibatch(ITEMS, size=32, informative=informative), measure, ITEMS)
    found = [scorer(candidates) for _ in range(warm + count)][warm:]
    return np.array([one.fitness for one in found]), np.array([one.error for one in found])


@pytest.mark.slow
def test_estimates_are_without_bias_and_tell_candidates_apart_with_fewer_items():
    candidates = population(0.5, 0.6)
    true = measure(candidates, np.arange(ITEMS)).items.mean(axis=1)
    errors = {}
    for informative in (True, False):
        fitness, stated = generations(informative, candidates)
        bias = fitness.mean(axis=0) - true
        assert (abs(bias) < 4 * fitness.std(axis=0) / np.sqrt(len(fitness))).all()
        squares = ((fitness - true) ** 2).mean()
        assert (stated**2).mean() == pytest.approx(squares, rel=0.25)
        apart = fitness - fitness.mean(axis=1, keepdims=True) - (true - true.mean())
        errors[informative] = squares, (apart**2).mean()
    assert errors[True][0] < 0.4 * errors[False][0]  # of the level
    assert errors[True][1] < 0.4 * errors[False][1]  # of the differences


def test_results_need_not_be_right_or_wrong():
    rng = np.random.default_rng(3)
    levels, slopes = rng.normal(-40, 10, ITEMS), np.where(np.arange(ITEMS) % 8, 0.01, 5)

    def losses(genotypes, rows):
        return Evaluation(
            (levels[rows] + genotypes * slopes[rows]).astype(np.float32), np.zeros(len(genotypes))
        )

    scorer = Scorer(Minibatch(ITEMS, size=32), losses, ITEMS)
    candidates = population(-1, 1)
    fitness = np.array([scorer(candidates).fitness for _ in range(60)])[20:]
    true = losses(candidates, np.arange(ITEMS)).items.mean(axis=1)
    assert (np.diff(fitness, axis=1) > 0).all()
    bias = fitness.mean(axis=0) - true
    assert (abs(bias) < 4 * fitness.std(axis=0) / np.sqrt(len(fitness))).all()
    assert fitness.std(axis=0).max() < 0.1 * levels.std()


def test_where_nothing_differs_all_items_are_alike():
    scorer = Scorer(Minibatch(ITEMS, size=32), measure, ITEMS)
    found = [scorer(np.full((4, 1), 0.5, np.float32)) for _ in range(40)]
    seen = np.isfinite([one.items[0] for one in found]).sum(axis=0)
    assert seen.max() <= 16
    assert all((one.fitness == one.fitness[0]).all() for one in found)


def test_on_all_items_nothing_is_left_to_chance():
    found = Scorer(Minibatch(ITEMS, size=ITEMS), measure, ITEMS)(population(0, 1))
    assert found.error is None
    assert np.isfinite(found.items).all()


def test_scores_of_different_generations_compare_by_what_is_assured():
    first = Scorer(Minibatch(ITEMS, size=16), measure, ITEMS)(population(0.5, 0.503))
    expected = np.sqrt(
        first.items[:, np.isfinite(first.items[0])].var(axis=1, ddof=1).mean() * (15 / 16) / 16
    )
    np.testing.assert_allclose(first.error, expected, rtol=1e-5)
    np.testing.assert_allclose(first.assured, first.fitness - 2 * first.error)
    rows = [
        {"search": "s", "genotype": [g], "item_evaluations": 1, "seconds": 0.0, "generation": g}
        for g in range(3)
    ]
    scores = [{"fitness": 0.9, "error": 0.2}, {"fitness": 0.6, "error": 0.0}, {"fitness": 0.55}]
    found = incumbents([row | score for row, score in zip(rows, scores, strict=True)], "s", 3)
    assert [point.genotype for point in found] == [[0], [1], [1]]


def test_whoever_fails_has_no_fitness_and_says_nothing_of_the_items():
    def failing(genotypes, rows):
        found = measure(genotypes, rows)
        found.items[np.ix_(genotypes[:, 0] > 0.8, rows == rows[0])] = np.nan
        return found

    scorer = Scorer(Minibatch(ITEMS, size=16), failing, ITEMS)
    for _ in range(4):
        found = scorer(population(0.1, 0.9))
        assert np.isnan(found.fitness[-1:]).all()
        assert np.isfinite(found.fitness[:-1]).all()
        assert np.isfinite(found.error).all()
    everyone = Scorer(
        Minibatch(ITEMS, size=128),
        lambda genotypes, rows: Evaluation(np.full((8, len(rows)), np.nan), np.zeros(8)),
        ITEMS,
    )
    assert all(np.isnan(everyone(population(0, 1)).fitness).all() for _ in range(3))


def test_a_search_keeps_what_is_assured(tmp_path):
    history = History(tmp_path / "history.jsonl")
    state = search(
        "s",
        EvosaxStrategy(Setting([0.0], [1.0], [0.5]), "CMA_ES", population_size=8),
        Scorer(Minibatch(ITEMS, size=16), measure, ITEMS),
        key=jax.random.key(0),
        generations=16,
        archive_size=4,
        history=history,
    )
    rows = list(read_history(history.path))
    assert {row["item_evaluations"] for row in rows} == {16}
    assured = [row["fitness"] - 2 * row["error"] for row in rows]
    np.testing.assert_allclose(state.archive.fitness[0], max(assured), rtol=1e-5)


@given(
    sizes=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=60),
    share=st.floats(0.01, 1),
)
def test_probabilities_are_in_proportion_and_sum_to_the_count(sizes, share):
    count = max(1, round(share * len(sizes)))
    found = inclusion(np.array(sizes), count)
    assert found.sum() == pytest.approx(count)
    assert ((found > 0) & (found <= 1)).all()
    free = found < 1
    ratios = found[free] / np.array(sizes)[free]
    np.testing.assert_allclose(ratios, ratios[:1].repeat(len(ratios)), rtol=1e-9)
    if free.any() and not free.all():
        assert min(np.array(sizes)[~free]) >= max(np.array(sizes)[free]) * (1 - 1e-9)


def test_samples_have_their_probabilities():
    rng = np.random.default_rng(0)
    shares = inclusion(rng.lognormal(0, 1, 40), 12)
    drawn = np.zeros(40)
    for _ in range(6000):
        rows = draw(rng, shares, 12)
        assert len(set(rows.tolist())) == 12
        drawn[rows] += 1
    np.testing.assert_allclose(drawn / 6000, shares, atol=0.03)
    assert (drawn[shares == 1] == 6000).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Minibatch(127), "size is 128, and the search split has 127 items; give a smaller"),
        (lambda: Minibatch(ITEMS, size=1), "size must be a whole number of at least 16"),
        (
            lambda: make_rule(
                Savers(racing={}, minibatch={}),
                range(ITEMS),
                EvosaxStrategy(Setting([0.0], [1.0]), "CMA_ES", population_size=8),
            ),
            r"savers\.minibatch and savers\.racing both choose the items of a generation",
        ),
    ],
)
def test_minibatches_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def rows_of(*shapes):
    """A task of one item a row, in batches of these shapes."""

    class Rows(list):
        request = None
        batches = tuple((np.zeros(shape),) for shape in shapes)

    return Rows([0] * sum(rows for rows, _ in shapes))


def strategy_of(algorithm):
    return EvosaxStrategy(Setting([0.0] * 3, [1.0] * 3), algorithm, population_size=8)


def prepared(*overrides):
    setup = set_up(build(compose(["+experiment=quickstart", *overrides])))
    items = setup.describe()[0].rpartition("evaluations of ")[2]
    return setup, items.partition(" (")[0]  # rounded up to whole generations


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["cma_es", "cr_fm_nes", "snes", "optuna_cma", "auto"])
def test_strategies_that_average(name):
    assert prepared(f"strategy={name}", ON, SMALL)[1] == "64 of 512 items"
    assert prepared(f"strategy={name}")[1] == "128 of 512 items"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "differential_evolution", "coordinate", "memetic"])
def test_strategies_that_keep_the_best_would_keep_the_luckiest(name):
    named = "RandomSearch|DifferentialEvolution|Coordinate|Memetic"
    with pytest.raises(ValueError, match=f"({named}).* does not average .* but keeps the best"):
        prepared(f"strategy={name}", ON, SMALL)
    assert prepared(f"strategy={name}")[1] == "512 items"
    assert prepared(f"strategy={name}", ON, "savers.minibatch.fresh=false")[1] == "128 of 512 items"


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "other",
    [
        "savers.racing.enabled=true",
        "savers.anchors.enabled=true",
        "savers.minibatch.size=257",
        "savers.minibatch.enabled=false",
    ],
)
def test_nobody_has_to_switch_off_what_would_not_fit(other):
    setup, items = prepared(other)
    assert setup.stages[0].savers.minibatch is None
    assert items == "512 items"


def test_minibatches_that_nobody_asked_for_are_of_one_task():
    two = BoundSeveral({name: (rows_of((128, 8)), 0.5) for name in "ab"})
    savers, strategy = Savers(automatic={"size": 16}), strategy_of("CMA_ES")
    assert fitting(savers, rows_of((32, 8)), strategy) == Savers(minibatch={"size": 16})
    assert fitting(savers, rows_of((31, 8)), strategy) == Savers()
    assert fitting(savers, two, strategy) == Savers()


@pytest.mark.parametrize(
    ("shapes", "fit"),
    [
        ([(300, 64), (200, 96)], True),
        ([(500, 16), (12, 128)], False),  # 128 rows of 128 tokens are more than all
        ([(400, 32), (112, 112)], False),  # half of all, but a larger batch than any
    ],
)
def test_minibatches_that_would_cost_more_than_all_items_are_left_out(shapes, fit):
    savers = fitting(Savers(automatic={}), rows_of(*shapes), strategy_of("CMA_ES"))
    assert (savers.minibatch is not None) is fit


def test_pictures_are_drawn_for_a_part_without_asking_what_their_prompts_are():
    class Prompts(list):
        request = Draw(sampler=None, guidance=0.0, height=8, width=8, vae=None)
        divisible = True

    savers, strategy = Savers(automatic={"size": 16}), strategy_of("CMA_ES")
    assert fitting(savers, Prompts([0] * 32), strategy) == Savers(minibatch={"size": 16})
    Prompts.divisible = False
    assert fitting(savers, Prompts([0] * 32), strategy) == Savers()
    with pytest.raises(ValueError, match="one number for all of them together"):
        make_rule(Savers(racing={}), Prompts([0] * 32), strategy)


def test_the_same_part_for_all_fits_any_strategy():
    savers = Savers(automatic={"fresh": False})
    assert fitting(savers, rows_of((512, 8)), strategy_of("RandomSearch")).minibatch is not None
    with pytest.raises(ValueError, match="size must be a whole number of at least 16"):
        fitting(Savers(automatic={"size": 0}), rows_of((64, 8)), strategy_of("RandomSearch"))


@pytest.mark.parametrize(("given", "said"), [("maybe", "'maybe'"), ("1", "1"), ("null", "None")])
def test_a_switch_has_three_positions(given, said):
    with pytest.raises(ConfigError, match=f"enabled is {said}; use true, false, or auto"):
        build(compose(["+experiment=quickstart", f"savers.minibatch.enabled={given}"]))


def test_the_same_part_for_all_generations():
    scorer = Scorer(Minibatch(ITEMS, size=32, fresh=False), measure, ITEMS)
    candidates = population(0.1, 0.9)
    first = scorer(candidates)
    again = [scorer(candidates) for _ in range(3)]
    assert first.error is None
    assert (np.isfinite(first.items).sum(axis=1) == 32).all()
    for one in again:
        np.testing.assert_array_equal(one.items, first.items)
        np.testing.assert_allclose(one.fitness, np.nanmean(one.items, axis=1), rtol=1e-6)


def test_a_rule_alone_is_made():
    strategy = strategy_of("CMA_ES")
    assert isinstance(make_rule(Savers(minibatch={}), range(ITEMS), strategy), Minibatch)
    assert isinstance(make_rule(Savers(racing={}), range(ITEMS), strategy), Racing)
