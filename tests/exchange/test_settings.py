"""Values, gradients and filters."""

import pytest

from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.settings import find, parse_setting


def value(given, tensor="model.layers.0.mlp.up_proj.weight", t=0.0, kind="float"):
    rule = find([{"x": parse_setting(given, kind, "x")}], "x", tensor)
    return None if rule is None else rule.at(t)


def test_a_gradient_is_interpolated_between_its_values():
    assert [value([0, 0.3, 0.7, 1], t=t) for t in (0, 1 / 3, 0.5, 1)] == [0, 0.3, 0.5, 1]
    assert value([2], t=0.7) == 2


def test_a_switch_takes_the_value_before():
    assert [value([True, False], t=t, kind="bool") for t in (0, 0.9, 1)] == [True, True, False]


def test_the_first_filter_that_matches_counts():
    rules = [{"filter": "self_attn", "value": 1}, {"filter": "mlp", "value": [2, 4]}, {"value": 9}]
    assert value(rules, t=0.5) == 3
    assert value(rules, "model.norm.weight") == 9
    assert value([{"filter": "*", "value": 5}]) == 5


def test_a_scope_without_a_match_leaves_it_to_the_next():
    near = {"x": parse_setting([{"filter": "lm_head", "value": 1}], "float", "x")}
    far = {"x": parse_setting(2, "float", "x")}
    assert find([near, far], "x", "lm_head.weight").at(0) == 1
    assert find([near, far], "x", "model.norm.weight").at(0) == 2
    assert find([near], "x", "model.norm.weight") is None


def test_numbers_may_be_written_as_yaml_reads_them():
    assert value("1e-5") == 1e-5
    assert value(3, kind="int") == 3


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("much", "float", "x: 'much' must be a finite number$"),
        (True, "float", "must be a finite number$"),
        ([0.2, float("nan")], "float", "x: nan must be a finite number$"),
        (float("inf"), "float", "x: inf must be a finite number$"),
        ("1e39", "float", "x: '1e39' must be a finite number$"),
        ([{"filter": "mlp", "value": float("-inf")}], "float", "value: -inf must be a finite"),
        (float("inf"), "int", "must be a whole number"),
        (0.5, "int", "must be a whole number"),
        (3, "bool", "must be true or false"),
        ([], "float", "is an empty list"),
        ([1, {"value": 2}], "float", "give it as `value: 1`"),
        ([{"filtr": "mlp", "value": 1}], "float", r"unknown key filtr \(did you mean filter\?\)"),
        ([{"filter": "mlp"}], "float", "lacks value"),
    ],
)
def test_what_is_no_value_is_refused(given, kind, message):
    with pytest.raises(ExchangeError, match=message):
        parse_setting(given, kind, "x")
