"""What is measured of a generation, and what is made of it."""

import itertools

import jax
import numpy as np
import pytest

from evojax_merge.config.experiment import Savers
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.savers import Anchors, Memory, Minibatch, Racing, Scorer, Whole, make_rule
from evojax_merge.savers.item_response import fit
from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History, read_history
from evojax_merge.search.loop import search
from evojax_merge.strategies import EvosaxStrategy, Setting, Strategy

ITEMS = 96
RNG = np.random.default_rng(0)
HARD, TELLING = RNG.normal(0, 1.5, ITEMS), RNG.uniform(0.5, 2, ITEMS)
LUCK = RNG.random(ITEMS)


def solve(abilities):
    """Who solves what: the same again for the same ability."""
    chance = 1 / (1 + np.exp(-TELLING * (np.asarray(abilities)[:, None] - HARD)))
    return (chance > LUCK).astype(np.float32)


class Bench:
    """Measures candidates of one gene, their ability, and counts."""

    def __init__(self, broken=(), on=slice(None)):
        self.asked = []
        self.broken, self.on = broken, on

    def __call__(self, genotypes, rows):
        items = solve(genotypes[:, 0])
        items[np.ix_(np.isin(genotypes[:, 0], self.broken), np.arange(ITEMS)[self.on])] = np.nan
        items = items[:, rows]
        self.asked += [(float(one), len(rows)) for one in genotypes[:, 0]]
        return Evaluation(items, np.zeros(len(items), np.float32))


def keys(genotypes):
    return [one.tobytes() for one in np.round(genotypes, 1)]


def population(*abilities):
    return np.array(abilities, np.float32)[:, None]


SPREAD = population(*np.linspace(-2, 2, 16))


def test_everything_is_measured_by_default():
    bench = Bench()
    found = Scorer(Whole(ITEMS), bench, ITEMS)(SPREAD)
    np.testing.assert_array_equal(found.items, solve(SPREAD[:, 0]))
    np.testing.assert_allclose(found.fitness, found.items.mean(axis=1), rtol=1e-6)
    assert found.item_evaluations.tolist() == [ITEMS] * 16


def test_the_same_model_is_measured_once():
    bench = Bench()
    scorer = Scorer(Whole(ITEMS), bench, ITEMS, memory=Memory(keys, ITEMS))
    first = scorer(population(0.5, 0.52, 1.0))
    assert first.item_evaluations.tolist() == [ITEMS, 0, ITEMS]
    np.testing.assert_array_equal(first.items[0], first.items[1])
    again = scorer(population(1.01, 0.0))
    assert again.item_evaluations.tolist() == [0, ITEMS]
    np.testing.assert_array_equal(again.items[0], first.items[2])
    assert len(bench.asked) == 3


@pytest.mark.parametrize("stopping", ["halving", "test"])
def test_a_race_finds_the_better_part_for_less(stopping):
    scorer = Scorer(Racing(ITEMS, stopping=stopping), Bench(), ITEMS)
    found = scorer(SPREAD)
    spent = found.item_evaluations
    assert spent.sum() < 0.75 * ITEMS * 16
    assert spent.max() == ITEMS
    complete = spent == ITEMS
    assert complete.sum() >= 4
    np.testing.assert_allclose(found.fitness[complete], solve(SPREAD[:, 0])[complete].mean(axis=1))
    assert found.fitness[~complete].max() <= found.fitness[complete].min()
    assert {14, 15} & set(np.argsort(found.fitness)[-2:])
    measured = np.isfinite(found.items).sum(axis=1)
    np.testing.assert_array_equal(measured, spent)


def test_those_who_stop_are_ranked_on_the_scale_of_those_who_go_on():
    found = Scorer(Racing(ITEMS, rungs=(2, 8)), Bench(), ITEMS)(SPREAD)
    truth = solve(SPREAD[:, 0]).mean(axis=1)
    assert np.abs(found.fitness - truth).max() < 0.25
    assert np.corrcoef(found.fitness, truth)[0, 1] > 0.95


def test_items_are_common_to_a_generation_and_change_with_it():
    scorer = Scorer(Racing(ITEMS, rungs=(2,)), Bench(), ITEMS)
    seen = [np.isfinite(scorer(SPREAD).items) for _ in range(4)]
    for known in seen:
        assert (known == known[0]).all()
        assert known[0].sum() == ITEMS // 4
    assert len({known[0].tobytes() for known in seen}) > 1


@pytest.mark.parametrize("stopping", ["halving", "test"])
def test_a_race_with_those_who_have_no_result(stopping):
    broken = (SPREAD[3, 0], SPREAD[15, 0])
    found = Scorer(Racing(ITEMS, stopping=stopping), Bench(broken), ITEMS)(SPREAD)
    assert np.isnan(found.fitness[[3, 15]]).all()
    assert np.isfinite(np.delete(found.fitness, [3, 15])).all()
    everyone = Scorer(Racing(ITEMS, stopping=stopping), Bench(tuple(SPREAD[:, 0])), ITEMS)(SPREAD)
    assert np.isnan(everyone.fitness).all()


@pytest.mark.parametrize("stopping", ["halving", "test"])
def test_failing_on_one_item_is_failing_also_alone_in_a_group(stopping):
    failed = 0
    for who, item in itertools.product((2, 15), range(0, ITEMS, 7)):
        bench = Bench((SPREAD[who, 0],), on=[item])
        found = Scorer(Racing(ITEMS, stopping=stopping, parents=0.01), bench, ITEMS)(SPREAD)
        met = found.item_evaluations[who]
        fails = np.isfinite(found.items[who]).sum() < met
        assert np.isnan(found.fitness[who]) == fails
        assert np.isfinite(np.delete(found.fitness, who)).all()
        failed += fails
    assert failed > 3


def test_the_test_stops_the_best_as_seldom_as_it_says():
    """Of races among equals but for one better, that one must hardly ever be stopped."""
    lost = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        results = (
            rng.random((12, ITEMS)) < np.where(np.arange(12) == 0, 0.6, 0.5)[:, None]
        ).astype(np.float32)
        rule = Racing(ITEMS, stopping="test", error=0.05, seed=seed)
        scores = rule(0, 12, lambda who, rows, results=results: results[np.ix_(who, rows)])
        lost += bool(np.isnan(scores.items[0]).any())
    assert lost <= 200 * 3 * 0.05  # three rounds, each with an error of 0.05


def test_an_item_response_model_tells_hard_items_from_easy_ones():
    abilities = np.linspace(-3, 3, 40)
    model = fit(solve(abilities), dimensions=1)
    solved = solve(abilities).mean(axis=0)
    assert np.corrcoef(model.difficulty, -solved)[0, 1] > 0.9
    located = model.abilities(solve(abilities)[:, ::4], np.arange(0, ITEMS, 4))
    assert np.corrcoef(located[:, 0], abilities)[0, 1] > 0.9


def test_anchors_estimate_the_whole():
    scorer = Scorer(Anchors(ITEMS, anchors=16, initial=16, check=1, refresh=3), Bench(), ITEMS)
    assert scorer(SPREAD).item_evaluations.tolist() == [ITEMS] * 16
    others = SPREAD + 0.11
    found = scorer(others)
    assert found.item_evaluations.tolist() == [16] * 16
    truth = solve(others[:, 0]).mean(axis=1)
    assert np.abs(found.fitness - truth).mean() < 0.05
    at_random = solve(others[:, 0])[:, :16].mean(axis=1)
    assert np.abs(found.fitness - truth).mean() < np.abs(at_random - truth).mean()
    scorer(others)
    checked = scorer(SPREAD + 0.05).item_evaluations
    assert sorted(checked.tolist()) == [16] * 15 + [ITEMS]


def test_anchors_know_the_sources_and_the_first_candidate_pays_for_them():
    sources = solve(np.array([-1.0, 1.0]))
    few = {"anchors": 16, "initial": 2}
    knows = Scorer(Anchors(ITEMS, **few, sources=sources), Bench(), ITEMS, before=(2 * ITEMS, 1.5))
    alone = Scorer(Anchors(ITEMS, **few), Bench(), ITEMS)
    first, second = knows(SPREAD[:3]), alone(SPREAD[:3])
    assert first.item_evaluations.tolist() == [3 * ITEMS, ITEMS, ITEMS]
    assert first.seconds[0] >= 1.5 > first.seconds[1:].max()
    assert second.item_evaluations.tolist() == [ITEMS] * 3
    others = SPREAD + 0.11
    assert not np.array_equal(knows(others).fitness, alone(others).fitness)
    with pytest.raises(ValueError, match="between -3 and 1"):
        Anchors(ITEMS, sources=np.where(sources == 0, -3, sources))


def both(items=ITEMS):
    return Anchors(items, anchors=16, initial=16, refresh=3, racing=Racing(items))


def minibatch(items=ITEMS):
    return Minibatch(items, size=24)


def test_anchors_are_the_first_round_of_races():
    scorer = Scorer(both(), Bench(), ITEMS)
    alone = Scorer(Racing(ITEMS), Bench(), ITEMS)(SPREAD)
    first = scorer(SPREAD)
    np.testing.assert_array_equal(first.items, alone.items)  # there is no model yet
    others = SPREAD + 0.11
    found = scorer(others)
    measured = np.isfinite(found.items)
    np.testing.assert_array_equal(measured.sum(axis=1), found.item_evaluations)
    anchors = measured.all(axis=0)
    assert 8 <= anchors.sum() <= 16
    assert (found.item_evaluations == anchors.sum()).sum() == 8  # the worse half stops there
    truth = solve(others[:, 0]).mean(axis=1)
    complete = measured.all(axis=1)
    assert complete.sum() >= 4
    np.testing.assert_allclose(found.fitness[complete], truth[complete], rtol=1e-6)
    assert np.abs(found.fitness - truth).mean() < 0.1
    assert np.corrcoef(found.fitness, truth)[0, 1] > 0.97
    assert truth[complete].min() >= np.median(truth)


def test_whoever_fails_on_an_item_behind_the_anchors_has_no_fitness():
    class Failing(Bench):
        def __call__(self, genotypes, rows):
            found = super().__call__(genotypes, rows)
            found.items[np.ix_(genotypes[:, 0] > 2, ~np.isin(rows, anchors))] = np.nan
            return found

    anchors = np.arange(ITEMS)
    scorer = Scorer(both(), Failing(), ITEMS)
    scorer(SPREAD)
    anchors = scorer._rule._chosen.rows
    found = scorer(SPREAD + 0.11)
    best = SPREAD[:, 0] + 0.11 > 2
    assert best.any()
    assert np.isnan(found.fitness[best]).all()
    assert np.isfinite(found.fitness[~best]).all()


def test_a_model_of_results_that_are_partly_missing():
    abilities = np.linspace(-3, 3, 60)
    results = solve(abilities)
    results[np.random.default_rng(1).random(results.shape) < 0.6] = np.nan
    model = fit(results, dimensions=1)
    assert np.corrcoef(model.difficulty, -solve(abilities).mean(axis=0))[0, 1] > 0.85
    located = model.abilities(results, np.arange(ITEMS))[:, 0]
    assert np.corrcoef(located, abilities)[0, 1] > 0.85
    nothing = np.full((1, ITEMS), np.nan)
    np.testing.assert_allclose(model.abilities(nothing, np.arange(ITEMS)), 0, atol=1e-6)


def test_anchors_for_graded_results_only():
    def measure(genotypes, rows):
        return Evaluation(np.full((len(genotypes), len(rows)), -2.5, np.float32), np.zeros(16))

    with pytest.raises(
        ValueError, match=r"0 \(wrong\) and 1 \(right\); this task's are between -2\.5 and -2\.5\."
    ):
        Scorer(Anchors(ITEMS), measure, ITEMS)(SPREAD)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [(), (2.0, -2.0)], ids=["sound", "failing"])
@pytest.mark.parametrize("rule", [Whole, Racing, Anchors, both, minibatch])
def test_a_search_that_was_cut_off_learns_again_what_it_knew(rule, broken, tmp_path):
    strategy = EvosaxStrategy(Setting([-2.0, 0.0], [2.0, 1.0]), "CMA_ES", population_size=16)

    def run(folder, generations):
        folder.mkdir(exist_ok=True)
        bench = Bench(broken)  # both ends of the box, where candidates gather
        scorer = Scorer(rule(ITEMS), bench, ITEMS, memory=Memory(keys, ITEMS))
        history = History(folder / "history.jsonl")
        search(
            "s",
            strategy,
            scorer,
            key=jax.random.key(0),
            generations=generations,
            archive_size=4,
            history=history,
            checkpointer=Checkpointer(folder / "checkpoints"),
            on_resume=scorer.resume,
        )
        rows = list(read_history(history.path))
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    whole = run(tmp_path / "whole", 8)
    run(tmp_path / "cut", 3)
    assert run(tmp_path / "cut", 8) == whole


def test_more_candidates_may_be_asked_for_before_the_model_than_it_is_fitted_to():
    scorer = Scorer(Anchors(ITEMS, anchors=16, initial=300), Bench(), ITEMS)
    counts = [scorer(SPREAD + 0.01 * g).item_evaluations.sum() for g in range(20)]
    assert counts[18] == 16 * ITEMS
    assert counts[19] == 16 * 16


@pytest.mark.slow
def test_what_a_strategy_spends_itself_is_counted_with_its_candidates(tmp_path):
    class Spending(EvosaxStrategy):
        def spent(self, state):
            return 7 * int(state.algorithm.generation_counter)

    strategy = Spending(Setting([-2.0, 0.0], [2.0, 1.0]), "CMA_ES", population_size=16)
    history = History(tmp_path / "history.jsonl")
    scorer = Scorer(Whole(ITEMS), Bench(), ITEMS)
    options = {"key": jax.random.key(0), "archive_size": 4, "history": history}
    search("s", strategy, scorer, generations=3, **options)
    rows = list(read_history(history.path))
    assert [row["item_evaluations"] for row in rows[::16]] == [ITEMS + 7] * 3
    assert {row["item_evaluations"] for row in rows[1:16]} == {ITEMS}


def test_a_limit_of_items(tmp_path):
    strategy = EvosaxStrategy(Setting([-2.0, 0.0], [2.0, 1.0]), "CMA_ES", population_size=16)
    history = History(tmp_path / "history.jsonl")
    scorer = Scorer(Whole(ITEMS), Bench(), ITEMS)
    options = {"key": jax.random.key(0), "generations": 9, "archive_size": 4, "history": history}
    search("s", strategy, scorer, item_evaluations=16 * ITEMS + 1, **options)
    assert len(list(read_history(history.path))) == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Racing(6, blocks=8), "blocks is 8, and the search split has 6 items"),
        (lambda: Racing(ITEMS, rungs=(1, 16)), "rungs is .1, 16.; give numbers of blocks"),
        (lambda: Racing(ITEMS, rungs=(2, 1)), "rungs is .2, 1."),
        (lambda: Racing(ITEMS, rungs=()), "rungs is .."),
        (
            lambda: Racing(ITEMS, stopping="halve"),
            "stopping is 'halve'; choose among halving",
        ),
        (lambda: Racing(ITEMS, factor=1), "factor is 1; give a number above 1"),
        (lambda: Racing(ITEMS, parents=0), "parents is 0"),
        (lambda: Racing(ITEMS, error=0.7), "error is 0.7"),
        (lambda: Anchors(10, anchors=10), "anchors is 10, and the search split has 10 items"),
        (lambda: Anchors(10, anchors=1), "anchors must be a whole number of at least 2, not 1"),
    ],
)
def test_savers_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Sleeping(Strategy):
    """A strategy that is never asked for a candidate."""

    population_size, dims = 1, 1

    def init(self, key):
        raise NotImplementedError

    ask = tell = init


class Hearing(Sleeping):
    """Must be told every item."""

    hears = "items"


class Own(Sleeping):
    """Scores candidates itself."""

    own_measure = ("length", "layers", True)


def test_savers_that_the_strategy_cannot_use():
    with pytest.raises(ValueError, match="leaves items unmeasured, and Hearing is told the items"):
        make_rule(Savers(racing={}), range(ITEMS), Hearing())


def test_savers_of_a_strategy_that_scores_candidates_itself():
    with pytest.raises(ValueError, match="Own scores them itself; leave it out"):
        make_rule(Savers(anchors={}), range(ITEMS), Own())
