"""No file of a stranger ends in a traceback, a hang, a wrong result or code that is run.

Every input has a number, from which it is made again: ``python -m tests.fuzz.worker GROUP NUMBER``.
"""

import itertools
import os

import pytest

from tests.fuzz.pool import BAD, Ended, read_all, table

SHARES = {
    "safetensors": 14,
    "config": 18,
    "index": 8,
    "tokenizer": 10,
    "jsonl": 14,
    "features": 2,
    "recipe": 12,
    "mergekit": 6,
    "overrides": 5,
    "adapter": 8,
    "run": 2,
    "chat": 1,
}
"""Of a hundred inputs, how many are of each group; those that take longest are fewest."""


def inputs(hundreds: int, first: int = 0) -> list[tuple[str, int]]:
    return [
        (group, first + number)
        for group, share in SHARES.items()
        for number in range(share * hundreds)
    ]


def check(found: list[Ended]) -> None:
    print("\n" + table(found))
    bad = [ended for ended in found if ended.how in BAD]
    shown = [
        f"{group} {number}: {how}\n{message}"
        for group, number, how, message in itertools.islice(bad, 20)
    ]
    assert not bad, f"{len(bad)} inputs:\n" + "\n".join(shown)


def test_some_inputs():
    check(read_all(inputs(1), workers=1))


@pytest.mark.fuzz
def test_ten_thousand_inputs():
    check(read_all(inputs(100, first=1_000), workers=os.cpu_count() or 1))
