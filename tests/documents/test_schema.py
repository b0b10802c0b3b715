"""The typed layer: numbers as others write them, and every problem in one error."""

import math
from typing import Annotated

import pytest

from evojax_merge.documents.schema import Closed, Document, number, read, whole


class Part(Closed):
    name: str
    layers: list[Annotated[int, whole(0, 9)]] | None = None


class Whole(Document):
    size: Annotated[int, whole(1, 8)]
    factor: Annotated[float, number(above=0)] | None = None
    switch: bool = False
    parts: list[Part] | None = None
    scales: dict[str, Annotated[float, number(0, 1)]] | None = None


class RefusedError(ValueError):
    pass


@pytest.mark.parametrize("size", [2, 2.0])
def test_a_number_may_be_written_otherwise(size):
    found = read(Whole, {"size": size, "factor": 3, "unknown": 1}, "x.json")
    assert (found.size, type(found.size), found.factor) == (2, int, 3.0)


@pytest.mark.parametrize(
    "size", [1.5, "2", True, None, [], {}, math.nan, math.inf, 0, 9, 2**70, 10**400]
)
def test_what_is_no_whole_number(size):
    with pytest.raises(ValueError, match=r"^x\.json: size is .*; give a whole number from 1 to 8$"):
        read(Whole, {"size": size}, "x.json")


@pytest.mark.parametrize("factor", ["1", True, [], math.nan, -math.inf, 0, -1.0, 10**400])
def test_what_is_no_number(factor):
    with pytest.raises(ValueError, match=r"factor is .*; give a finite number above 0$"):
        read(Whole, {"size": 1, "factor": factor}, "x.json")


def test_every_problem_is_in_one_error_of_the_readers_class():
    given = {
        "switch": 1,
        "parts": [{"nme": "a"}, 3, {"name": "b", "layers": [1, "x"]}],
        "scales": {"\x1b[31m": 2},
    }
    with pytest.raises(RefusedError) as caught:
        read(Whole, given, "x.json", RefusedError)
    assert str(caught.value).splitlines() == [
        "x.json:",
        "  lacks size",
        "  switch is 1; give true or false",
        "  lacks parts[0].name",
        "  unknown key parts[0].nme (did you mean name?)",
        "  parts[1] is 3; give a mapping",
        "  parts[2].layers[1] is 'x'; give a whole number from 0 to 9",
        "  scales.'\\x1b[31m' is 2; give a finite number from 0 to 1",
    ]


@pytest.mark.parametrize("given", [None, 3, [], "text"])
def test_what_is_no_mapping(given):
    with pytest.raises(ValueError, match=r"^x\.json: it is .*; give a mapping$"):
        read(Whole, given, "x.json")


def test_a_message_is_short_whatever_is_in_the_file():
    given = {"size": "x" * 10**7, "parts": [{"wrong" + str(n): "y" * 10**4} for n in range(10_000)]}
    with pytest.raises(ValueError, match="problems more") as caught:
        read(Whole, given, "x.json")
    assert len(str(caught.value)) < 3_000
