"""Functions of the user's own are found from where the user stands, and refused in one line."""

import os
import sys

import pytest

from evojax_merge.documents.own_code import OwnCodeError, load_own


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The directory where the user stands, in which there is a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    write(tmp_path / "judge_of_mine.py", "def score(answer):\n    return len(answer)\n")
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("judge_of_mine", "helper_of_mine", "kit_of_mine"):
            del sys.modules[name]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "spec",
    [
        "judge_of_mine.py:score",
        "judge_of_mine:score",
        "judge_of_mine.score",
        "./judge_of_mine.py:score",
    ],
)
def test_every_form_finds_the_function_and_says_where_it_was_read(here, spec):
    own = load_own(spec, "fitness.function")
    assert own.function("four") == 4
    assert own.file == here / "judge_of_mine.py"
    assert len(own.sha256) == 64


def test_modules_beside_a_file_can_be_imported_also_when_the_function_is_called(here):
    write(here / "else" / "helper_of_mine.py", "import kit_of_mine.parts\nHALF = 0.5\n")
    write(here / "else" / "kit_of_mine" / "__init__.py", "")
    write(here / "else" / "kit_of_mine" / "parts.py", "DOUBLE = 2\n")
    late = "def score():\n    from kit_of_mine.parts import DOUBLE\n    return HALF * DOUBLE\n"
    write(here / "else" / "late.py", "from helper_of_mine import HALF\n" + late)
    own = load_own("else/late.py:score", "where")
    assert own.function() == 1.0
    names = {str(file.relative_to(here / "else")) for file in own.imported}
    assert names == {"helper_of_mine.py", "kit_of_mine/__init__.py", "kit_of_mine/parts.py"}


def test_a_file_is_read_once_until_it_or_what_it_imports_changes(here):
    helper = write(here / "helper_of_mine.py", "ONE = 1\n")
    write(
        here / "judge_of_mine.py", "from helper_of_mine import ONE\ndef score():\n    return ONE\n"
    )
    first = load_own("judge_of_mine.py:score", "where")
    assert load_own("judge_of_mine.py:score", "where").function is first.function
    write(helper, "ONE = 2\n")
    second = load_own("judge_of_mine.py:score", "where")
    assert (first.function(), second.function()) == (1, 2)
    assert first.sha256 == second.sha256
    assert first.files != second.files


def test_a_file_that_is_called_like_a_library_does_not_take_its_place(here):
    write(here / "json.py", "def score():\n    return 1\n")
    assert load_own("json.py:score", "where").function() == 1
    import json

    assert json.dumps({}) == "{}"
    assert sys.path[0] != str(here)


@pytest.mark.parametrize(
    ("spec", "text", "message"),
    [
        (
            "judge_of_min.py:score",
            None,
            "judge_of_min.py: missing (no such file) (did you mean judge_of_mine.py?)",
        ),
        ("judge_of_mine.py:scor", None, "has no scor (did you mean score?)"),
        ("judge_of_mine.py:zzz", None, "has no zzz; it has score"),
        ("judge_of_mine.py", None, "names no function of the file"),
        ("no_module_of_mine:f", None, "there is no module no_module_of_mine, neither in"),
        ("score", None, "give FILE.py:FUNCTION, or MODULE:FUNCTION"),
        ("judge_of_mine.py:A", "A = 3\n", "A of judge_of_mine.py is 3; give a function"),
        (
            "judge_of_mine.py:f",
            "import os\n\nos.x()\n",
            "cannot be imported: AttributeError: module 'os' has no attribute 'x' "
            "(judge_of_mine.py, line 3)",
        ),
        ("judge_of_mine.py:f", "def f(:\n", "SyntaxError: invalid syntax (judge_of_mine.py, line"),
        ("judge_of_mine.py:f", "import sys\nsys.exit(1)\n", "SystemExit: 1 (judge_of_mine.py, l"),
        (
            "judge_of_mine.py:f",
            "import no_module_of_mine\n",
            "ModuleNotFoundError: No module named 'no_module_of_mine' (judge_of_mine.py, line 1)",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_that_begins_with_the_key(here, spec, text, message):
    if text is not None:
        write(here / "judge_of_mine.py", text)
    with pytest.raises(OwnCodeError) as raised:
        load_own(spec, "fitness.function")
    said = str(raised.value)
    assert said.startswith("fitness.function")
    assert message in said
    assert os.linesep not in said


def test_a_failing_call_is_told_with_the_users_own_line(here):
    write(
        here / "judge_of_mine.py", "import json\n\ndef score(text):\n    return json.loads(text)\n"
    )
    own = load_own("judge_of_mine.py:score", "where")
    with pytest.raises(ValueError, match="Expecting") as raised:
        own.function("{")
    assert own.failed(raised.value).endswith("(judge_of_mine.py, line 4, in score)")
