"""A search stops when its judge may not be asked any more, and goes on as if it never had."""

import json
import random

import pytest

from evojax_merge import evolve, resume
from evojax_merge.hosts import Interrupted
from tests.fitness.judging.server import completion, serving

pytestmark = pytest.mark.slow
pytest.importorskip("openai")


def rows(run):
    lines = (run / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(one).items() if "seconds" not in k} for one in lines]


def test_a_search_goes_on_to_the_same_bits(tmp_path):
    with serving() as server:
        numbers = random.Random(0)
        server.replies = [completion(str(numbers.randint(1, 10))) for _ in range(10_000)]
        overrides = [
            "+experiment=quickstart",
            "fitness.language=null",
            "fitness.limit=3",
            "fitness.max_new_tokens=6",
            "fitness.validation=null",
            "fitness.test=null",
            "search.evaluations=12",
            "strategy.population_size=4",
            "baselines.random_search=false",
            "baselines.published=false",
            "export=false",
            "fitness/judge=chat",
            f"fitness.judge.url={server.url}",
            "fitness.judge.model=wise",
            f"fitness.judge.keep_replies={tmp_path / 'replies'}",
        ]
        stops = 0
        run = tmp_path / "stopped"
        while stops < 20:
            try:
                if (run / "checkpoints").exists():
                    resume(run, trust_config=True)
                else:
                    evolve([*overrides, "fitness.judge.requests=5"], run)
                break
            except Interrupted:
                stops += 1
        assert 2 <= stops < 20
        asked = len(server.requests)
        whole = evolve(overrides, tmp_path / "whole")
        assert rows(run) == rows(whole.directory)
        assert len(rows(run)) == 12
        assert len(server.requests) == asked
