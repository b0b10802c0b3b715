"""What cannot be is refused by name, before anything expensive starts."""

import pytest
from omegaconf import OmegaConf

from evojax_merge import evolve
from evojax_merge.config import (
    ConfigError,
    build,
    check_sweep,
    compose,
    load_config_file,
)
from tests.config.layouts import DIGITS, layout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle.base=x", r"no configuration key 'modle\.base' \(did you mean model\?"),
        ("model.bse=x", r"did you mean model\.base\?"),
        ("fitness.dta=x", r"did you mean fitness\.data\?"),
        ("strategi=cma_es", r"no configuration key 'strategi' \(did you mean strategy\?"),
        ("strategy=cma_ess", r"no option strategy=cma_ess \(did you mean strategy=cma_es\?"),
        ("+experiment=digit", r"did you mean experiment=digits\?"),
        ("search.evaluations=many", "many"),
        ("seed=1.5", r"^seed takes a whole number, not 1\.5$"),
        (
            "model=x",
            r"^model holds the keys base, sources, .*; give one of them, as model\.base=…$",
        ),
        ("search=5", r"^search holds the keys evaluations, "),
        ("search.evaluations={a: 2}", r"^search\.evaluations takes a whole number, not \{a: 2\}$"),
        ("model.sources=3", r"^model\.sources takes a list, not 3$"),
        ("model.base={a: 1}", r"^model\.base takes text, not"),
        ("model={a: 1}", r"^there is no configuration key 'model\.a'"),
        ("strategy=0", r"^strategy takes the name of an option, not 0: .*cma_es"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(override, message):
    with pytest.raises(ConfigError, match=message):
        compose([override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.sources=[a,a]"], "two sources are called the same"),
        (["model.sources=[a,b]", "model.names=[x]"], "1 names for 2 sources"),
        (["model.sources=[]"], "model.sources is empty"),
        (
            ["model.sources=[a]", "search.evaluations=0"],
            "search.evaluations must be a whole number of at least 1",
        ),
        (["model.sources=[a]", "seed=-1"], "seed is -1"),
        (["model.sources=[a]", "search.finalists=1e20"], "search.finalists takes a whole number"),
        (["model.sources=[a]", f"search.finalists={10**20}"], "search.finalists must be at most"),
        (["model.sources=[a]", "search.chunk=0"], "search.chunk must be a whole number"),
        (["model.sources=[a]", "search.curve=-2"], "search.curve must be a whole number"),
        (["model.sources=[a]", "statistics_cache.limit_gb=nan"], "limit_gb must be a finite"),
        (["model.sources=[a]", "statistics_cache.limit_gb=-1"], "limit_gb must be a finite"),
        (["model.sources=[a]", "fitness.seed=1.5"], "digits: seed must be a whole number"),
        (["model.sources=[a]", "fitness.fractions.test=nan"], "fractions.test must be a finite"),
        (["model.sources=[a]", "fitness.classes=[x]"], "an entry of classes must be"),
        (["model.sources=[a]", "model.dtype=int8"], "model.dtype is 'int8'"),
        (["model.sources=[a]", "model.tokenizer=b"], "model.tokenizer is 'b'"),
        ([], "give a value for .*model.sources"),
    ],
)
def test_the_impossible_is_refused_before_anything_loads(overrides, message):
    with pytest.raises(ValueError, match=message):
        build(compose(["fitness=digits", *overrides]))


@pytest.mark.few(16)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["operator=slerp", "model.sources=[{a},{b},{base}]"], "slerp merges 2 sources, got 3"),
        (["model.base=null", "operator=ties"], "needs the base model"),
        (["fitness=digits"], "needs a classifier"),
        (["strategy.population_size=0"], "population_size must be .* not 0"),
        (["strategy.population_size=1000000000"], "population_size must be at most 100,000"),
        (["strategy=cma_es", "strategy.population_size=1000000000"], "must be at most 100,000"),
        (["strategy.sigma=nan"], "sigma is a share of the range"),
        (["strategy.sigma=1e300"], "sigma is a share of the range"),
        (["fitness.max_new_tokens=1.5"], "max_new_tokens must be a whole number"),
        (["fitness.buckets=1.5"], "buckets must be a whole number"),
        (["fitness.buckets=nan"], "buckets must be a whole number"),
        (["fitness.slots=true"], "slots must be a whole number"),
        (["fitness.beams=1.5"], "beams must be a whole number"),
        (["fitness.beams=1000"], "lower fitness.beams"),
        (["fitness.repetition_penalty=-1"], "repetition_penalty must be a finite number from 0.01"),
        (["fitness.limit=2.5"], "limit must be a whole number"),
        (["fitness.chat=1"], "chat must be true or false"),
        (["fitness.template='{{question:>99999999999}}'"], "is wider than 1,000 characters"),
        (["fitness.template='{{question:{{answer}}}}'"], "has fields of its own"),
        (["fitness.reference_text='{{answr}}'"], "did you mean answer"),
        (["fitness.stop=[1]"], "stop must be a text"),
        (["fitness.data=3"], "a file of data must be a text"),
        (["space.groups={{1: [q_proj]}}"], "space.groups has the name 1; give a text"),
        (["space.groups={{a: 1}}"], "space.groups.a is 1; give a list of names"),
        (["space.layers_per_block=1.5"], "layers_per_block must be a whole number"),
        (["space.coefficients={{weight: {{upper: nan}}}}"], "weight.upper must be a finite"),
        (["space.normalize=1"], "space.normalize must be true or false"),
        (["space=hybrid", "space.pool=5"], "space.pool is 5; give a list"),
        (["space.coefficients={{weight: {{lower: 1, upper: 0}}}}"], "must rise"),
        (["space.coefficients=3"], "^space.coefficients is 3; give a mapping"),
        (["space.coefficients={{weight: 3}}"], "^space.coefficients.weight is 3; give a mapping"),
        (
            ["strategy=cma_es", "+strategy.strategy_params.c_mena=1"],
            r"^unknown parameter of CMAES 'c_mena' \(did you mean c_mean",
        ),
        (["fitness.template='{{qestion}}'"], "did you mean question"),
    ],
)
def test_combinations_that_cannot_work_are_refused(overrides, message, models, items, tmp_path):
    given = [override.format(**models) for override in overrides]
    common = [
        f"fitness.data={items['generation']}" if "fitness=digits" not in given else "seed=0",
        f"model.base={models['base']}",
        f"model.sources=[{models['a']},{models['b']}]",
        *(["fitness.max_new_tokens=4"] if "fitness=digits" not in given else []),
    ]
    with pytest.raises(ValueError, match=message):
        evolve([*common, *given], tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+strategy.popsize=3",
            r"no configuration key strategy\.popsize \(did you mean .*population",
        ),
        ("+space.fixes=1", r"no configuration key space\.fixes \(did you mean space\.fixed"),
        ("+mesh.foo=1", r"no configuration key mesh\.foo"),
        ("strategy=0.5", r"strategy takes the name of an option, not 0\.5"),
        ("operator._target_=3", r"operator\._target_ is 3; give the name of a factory"),
        ("space._partial_=x", r"space\._partial_ is 'x'; give true or false"),
        ("+operator.lamm=1", r"no configuration key operator\.lamm \(did you mean operator\.lam"),
    ],
)
def test_a_key_that_a_part_does_not_take_is_named_before_it_is_called(override, message):
    with pytest.raises(ConfigError, match=message):
        build(compose(["+experiment=digits_halves", override]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["strategy=open_es", "strategy.algorithm.optimizer.learning_rate=x"],
            "learning_rate must",
        ),
        (
            ["strategy=open_es", "strategy.algorithm.optimizer.learning_rate=nan"],
            "must be a finite",
        ),
        (["strategy=open_es", "strategy.algorithm.optimizer=1"], "optimizer is 1"),
        (["strategy=cma_es", "strategy.strategy_params=3"], "strategy_params is 3"),
        (["strategy=surrogate", "strategy.capacity=1000000"], "capacity must be at most"),
        (["strategy=m2n2", "strategy.archive_size=1e9"], "archive_size must be"),
        (["strategy=m2n2", "strategy.crossover=1"], "crossover must be true or false"),
        (["strategy=gradient", "strategy.learning_rate=inf"], "learning_rate must be a finite"),
        (["strategy=coordinate", "strategy.population_size=3"], "population_size must be an even"),
        (["mesh=single", "mesh.model=1.5"], "mesh.model must be a whole number"),
    ],
)
def test_numbers_of_every_group_are_refused_before_weights_are_read(
    overrides, message, monkeypatch, tmp_path
):
    monkeypatch.setattr("evojax_merge.runs.merged.load_ingredients", None)
    with pytest.raises(ValueError, match=message):
        evolve(["+experiment=digits_halves", *overrides], tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sed=0,1"], r"no configuration key 'sed' \(did you mean seed"),
        (["strategy=cma_es,snez"], r"no option strategy=snez \(did you mean strategy=snes"),
        (["seed=0,1", "operator=ties,tie"], r"no option operator=tie \(did you mean operator=ties"),
        (["experiment=digits"], r"\+experiment=NAME"),
        (["fitness.template=Q: {question}"], "quoted twice"),
    ],
)
def test_every_value_of_a_sweep_is_checked_before_it_starts(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_sweep(overrides)
    check_sweep(["+experiment=digits_halves", "seed=range(2)", "strategy=cma_es,snes"])


def test_a_source_that_is_the_base_is_refused_before_the_search(tmp_path):
    choice = compose(["+experiment=digits_halves"]).model
    sources = f"model.sources=[{choice.sources[0]},{choice.base}]"
    with pytest.raises(ValueError, match="base is the base in every tensor"):
        evolve(["+experiment=digits_halves", sources], tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_bounds_of_a_coefficient_that_the_operator_lacks_are_an_error_unless_optional():
    overrides = [
        "+experiment=digits_halves",
        "operator=slerp",
        "space.coefficients.weight.optional=false",
    ]
    experiment = build(compose(overrides))
    with pytest.raises(ValueError, match=r"of slerp: there is no 'weight'; .*optional: true"):
        experiment.space(operator=experiment.operator, layout=layout(DIGITS), sources=("a", "b"))


def test_a_configuration_of_another_version(tmp_path):
    file = tmp_path / "config.yaml"
    given = OmegaConf.to_container(compose(["+experiment=quickstart"]), resolve=True)
    file.write_text(OmegaConf.to_yaml(given))
    assert build(load_config_file(file)).savers.automatic is not None
    del given["savers"]["minibatch"]  # begun on all items, and to go on so
    file.write_text(OmegaConf.to_yaml(given))
    savers = build(load_config_file(file)).savers
    assert savers.automatic is savers.minibatch is None
    given["savers"]["minibatch"] = {"enabled": True, "patience": 4}
    file.write_text(OmegaConf.to_yaml(given))
    with pytest.raises(ConfigError, match=r"yaml: savers\.minibatch\.patience is no key of"):
        load_config_file(file)


def test_the_papers_search_measures_every_candidate_on_all_items():
    assert compose(["+experiment=evollm_jp"]).savers.minibatch.enabled is False
