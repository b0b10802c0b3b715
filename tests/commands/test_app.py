"""The command line as a terminal shows it: help, completion, misspelt words."""

import pytest

from evojax_merge.cli import main
from evojax_merge.commands import show
from evojax_merge.commands.app import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command, capsys):
    main([command, "--help"])
    shown = capsys.readouterr().out
    assert f"evojax-merge {command}" in shown
    assert "Options" in shown


def test_no_words_show_what_there_is(capsys):
    main([])
    shown = capsys.readouterr().out
    assert all(f" {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["aply", "x"], "No such command 'aply'. Did you mean"),
        (["apply", "x", "--outt", "y"], "(evojax-merge apply --help shows what there is)"),
        (["apply", "recipe.yaml"], "give --out for a checkpoint, or --images for pictures"),
        (["convert"], "Missing argument"),
        (["plan", "--items", "0"], "Invalid value for '--items'"),
        (["evolve", "--dryrun"], "--dryrun: is no option (did you mean --dry-run?)"),
        (["evolve", "ties"], "ties: is no KEY=VALUE"),
        (["apply", "x", "--\x1b[31m", "y"], "\\x1b[31m"),
    ],
)
def test_wrong_words_end_in_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["apply", "convert"])
def test_an_error_of_the_users_is_one_line(command, tmp_path, capsys):
    for given, message in (
        (tmp_path / "nowhere", "is not there; give a recipe, or the directory that has one"),
        (tmp_path, "holds no recipe.yaml; give the directory of a run, or a recipe"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([command, str(given), "--out", str(tmp_path / "out")])
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: {given}: {message}\n"


def test_an_error_that_another_package_raises_says_how_to_find_it(monkeypatch, capsys):
    monkeypatch.setattr(show, "run", lambda console, directory: int("x"))
    with pytest.raises(SystemExit) as ended:
        main(["show", "run"])
    assert ended.value.code == 2
    assert "(HYDRA_FULL_ERROR=1 shows where it came from)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["evolve", "operator=tie"], ["operator=ties"]),
        (["evolve", "operator", "=", "tie"], ["ties"]),  # as bash cuts it
        (["evolve", "mesh", "="], ["auto", "single"]),
        (["evolve", "work"], ["working_directory="]),
        (["evolve", "search.eval"], ["search.evaluations="]),
        (["evolve", "+exp"], ["+experiment="]),
        (["plan", "seed=1", "savers.racing.fac"], ["savers.racing.factor="]),
        (["conv"], ["convert"]),
    ],
)
def test_a_shell_is_offered_what_there_is(words, offered, monkeypatch, capsys):
    monkeypatch.setenv("COMP_WORDS", " ".join(("evojax-merge", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_EVOJAX_MERGE_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == offered
