"""Programs of answers pass tests, fail, run for ever, and are kept in their limits."""

import os

import pytest

from evojax_merge.fitness import DataError, GenerationTask
from evojax_merge.fitness.judging import code
from evojax_merge.fitness.judging.fences import fenced_blocks
from tests.fitness.conftest import written
from tests.fitness.judging.judged import judged, scores

MBPP = {"text": "Add.", "code": "unused", "tests": ["assert f(1, 2) == 3", "assert f(0, 0) == 0"]}
RIGHT = "def f(a, b):\n    return a + b"


@pytest.fixture
def task(write):
    def task(*items, **options):
        options = {"template": "?", "run_code": True, "max_new_tokens": 64, **options}
        return GenerationTask(data=write(*(items or (MBPP,))), **options)

    return task


@pytest.mark.parametrize(
    ("text", "score", "note"),
    [
        (RIGHT, 1, ""),
        (f"Sure:\n```python\n{RIGHT}\n```\nDone.", 1, ""),
        (RIGHT.replace("+", "-"), 0, "AssertionError (line 4)"),
        ("def f(", 0, "SyntaxError: '(' was never closed"),
        (f"{RIGHT}\nraise SystemExit(0)", 0, "SystemExit: 0 (line 3)"),
        (f"{RIGHT}\nimport os\nos._exit(0)", 0, "its process ended with 0 before the tests did"),
        (f"{RIGHT}\nimport os, sys\nos.write(1, b'x')\nsys.stdout.write('y')", 1, ""),
        (f"{RIGHT}\nbytearray(10**9)", 0, "MemoryError (line 3)"),
        ("", 0, ""),
    ],
)
def test_programs(task, text, score, note):
    verdict = judged(task(code_memory_gb=0.3), text)
    assert verdict.score == score
    assert note in verdict.note


def test_a_program_without_end_is_stopped(task):
    verdict = judged(task(code_seconds=0.5), "while True: pass")
    assert (verdict.score, verdict.note) == (0, "it takes longer than 0.5 seconds")


def test_a_program_has_an_empty_folder_and_no_environment(task, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    item = {"tests": "import os\nassert os.listdir('.') == []\nassert 'SECRET' not in os.environ"}
    after = item["tests"] + "\nopen('x', 'w').write('y')\nassert open('x').read() == 'y'"
    assert judged(task({"tests": after}), "pass").score == 1
    assert "x" not in os.listdir()


def test_a_program_cannot_reach_the_network_where_the_system_keeps_it_from_it(task):
    program = "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)"
    said = code.run_program(program, 5, 10**9)
    expected = "Connection refused" if said["network"] else "unreachable"
    assert expected in said["error"]


def test_humaneval(task):
    item = {
        "prompt": "def f(a, b):\n    '''Adds.'''\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3",
        "entry_point": "f",
    }
    made = task(item, program="{prompt}{code}\\n{test}\\ncheck({entry_point})")
    assert judged(made, "    return a + b").score == 1
    assert judged(made, "    return a - b").score == 0
    assert judged(made, f"```\n{RIGHT}\n```").score == 1


def test_equal_programs_run_once(task, model, monkeypatch):
    runs = []
    run = code.run_program
    monkeypatch.setattr(code, "run_program", lambda *given: runs.append(given) or run(*given))
    other = {**MBPP, "text": "Another question with the same tests."}
    bound = task(MBPP, other).bind(model)
    answers = [RIGHT, RIGHT + " "]
    assert scores(bound, answers, ["f = sum", RIGHT]) == [[1, 1], [0, 1]]
    assert len(runs) == 3
    note = bound.details(written(bound, [["f = sum", RIGHT]]))[0]["note"]
    assert "TypeError" in note
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no code", []),
        ("a\n```python\nb\n```\nc\n```\nd\n```", ["b\n", "d\n"]),
        ("```py\nb\nc", ["b\nc"]),
        ("b\n```\nThat is it.", ["b\n"]),
    ],
)
def test_blocks(text, blocks):
    assert fenced_blocks(text) == blocks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "code", "run_code": False}, "would run the programs that models write on this"),
        ({"program": "{tests}"}, "has no {code}"),
        ({"program": "{code}{test}"}, "no field 'test'.*did you mean tests"),
        ({"code_seconds": 0}, "code_seconds must be a finite number from 0.1 to 3600, not 0"),
        ({"run_code": 1}, "run_code must be true or false, not 1"),
    ],
)
def test_settings_that_make_no_sense(task, options, message):
    with pytest.raises((ValueError, DataError), match=message):
        task(**options)
