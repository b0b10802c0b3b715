"""The report of a run says what the run found, whatever it is called, and in whatever state."""

import json
import re
import shlex
import time

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from evojax_merge.cli import main
from evojax_merge.report.course import Course, Step
from evojax_merge.report.html.run import write_report
from evojax_merge.report.items import save_items
from evojax_merge.runs import steps
from evojax_merge.runs.outcome import Outcome
from tests.report.kept_factory import leave_path, leave_run, write_yaml
from tests.report.page_reader import read_page

TWO, FOUR = ("math", "japanese"), ("math", "japanese", "code", "size")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "'; alert(3); '",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- ]]> &lt;b&gt;",
    "javascript:alert(4)",
)
ACTING = "\u202eright to left\u2066 \x1b[31mred\x07 \ud800 \u2028 \x00"


def report(directory, **options):
    return read_page(write_report(directory, **options))


def test_a_finished_run_is_shown_with_its_numbers_and_the_commands_to_go_on(tmp_path):
    (tmp_path / "my run" / "export").mkdir(parents=True)
    page = report(leave_run(tmp_path / "my run"))
    for text in ("small", "finished", "japanese", "50.0 – 70.0", "40 items of the test split",
                 "marbles", "✓", "✗", "4 genes", "CMA_ES", "abababababab…", "0.56"):  # fmt: skip
        assert text in page.text, text
    assert "(40.0)" not in page.text  # the evolved merge is the best
    expected = ("apply 'my run' --out DIR", "evaluate 'my run' --split search", "report 'my run'",
                "resume 'my run' search.evaluations=48", "push 'my run' OWNER/NAME")  # fmt: skip
    for command in expected:
        assert f"evojax-merge {command}" in page.text, command


def test_a_page_needs_nothing_but_itself(tmp_path):
    page = report(leave_run(tmp_path, tasks=TWO, members=5))
    assert page.values("lang") == ["en"]
    assert {one[:5] for one in page.values("src")} <= {"data:"}
    ids = {f"#{one}" for one in page.values("id")}
    assert set(page.values("href")) <= {*ids, "data:,"}
    (policy,) = [one for one in page.values("content") if "default-src" in one]
    assert "default-src 'none'" in policy
    assert len(page.scripts) == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    labels = {one for _, name, one in page.attributes if name == "aria-labelledby"}
    assert {f"#{one}" for one in labels} <= ids


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_in_names_and_answers_is_text(tmp_path, name):
    plain = report(leave_run(tmp_path / "plain", tasks=TWO, members=2))
    directory = tmp_path / name.replace("/", "∕")
    leave_run(directory, tasks=(name, "b"), members=2, answer=name, sources=(name, "other"))
    write_yaml(directory / "overrides.yaml", [f"name={name}"])
    page = report(directory)
    assert page.tags == plain.tags
    assert page.scripts == plain.scripts
    assert name in page.text


def test_characters_that_act_on_others_are_shown_and_not_obeyed(tmp_path):
    directory = leave_run(tmp_path, sources=("\u202emath", "b"))
    examples = json.loads((directory / "examples.json").read_text())
    examples["items"][0]["answers"][0]["text"] = ACTING.replace("\ud800", "\\ud800")
    (directory / "examples.json").write_text(json.dumps(examples, ensure_ascii=False))
    page = report(directory)
    for character in "\u202e\u2066\x1b\x07\u2028\x00\ud800":
        assert character not in page.text, ascii(character)
    for shown in (r"\u202eright to left", r"\x1b[31m", r"\ud800", r"\u202emath"):
        assert shown in page.text, shown


def test_a_long_answer_is_cut_and_japanese_is_kept(tmp_path):
    page = report(leave_run(tmp_path, answer="こたえは5こです。" * 10_000))
    assert "こたえは5こです。" in page.text
    assert "(cut off here)" in page.text
    assert (tmp_path / "report.html").stat().st_size < 400_000


def test_a_great_run_makes_a_page_of_two_megabytes_at_most(tmp_path):
    directory = leave_run(
        tmp_path, generations=500, population=4, tasks=FOUR, members=60, answer="言葉" * 50_000
    )
    began = time.perf_counter()
    page = report(directory)
    assert time.perf_counter() - began < 10
    assert (directory / "report.html").stat().st_size < 2_000_000
    assert page.tags.count("tr") > 60
    assert "--select 59 --out DIR" in page.text


@pytest.mark.parametrize(("tasks", "shape"), [(TWO, "circle"), (FOUR, "g")])
def test_each_member_of_a_front_can_be_pointed_at_and_has_its_command(tmp_path, tasks, shape):
    page = report(leave_run(tmp_path / "run", tasks=tasks, members=7))
    pointed = [value for tag, name, value in page.attributes if name == "data-member"]
    assert {tag for tag, name, _ in page.attributes if name == "data-member"} == {shape}
    assert sorted(set(pointed)) == [str(n) for n in range(7)]
    for number in range(7):
        assert f"evojax-merge apply run --select {number} --out DIR" in page.text
        assert f"member-{number}" in page.values("id")


def test_the_only_generation_of_a_search_is_seen(tmp_path):
    page = report(leave_run(tmp_path, generations=1))
    shapes = [v for tag, n, v in page.attributes if n == "points" and tag.startswith("poly")]
    assert len(shapes) == 9  # band, mean and best, by three kinds of cost
    for shape in shapes:
        assert len({point.partition(",")[0] for point in shape.split()}) == 2, shape


def test_the_winner_is_compared_item_by_item(tmp_path):
    directory = leave_run(tmp_path)
    assert "(+" not in report(directory).text
    right = np.arange(40)
    solved = {"base": right < 8, "math": right < 12, "evolved": right >= 16}
    items = {name: own.astype(np.float32) for name, own in solved.items()}
    save_items({"test": items}, directory / "items.json")
    page = report(directory)
    (against_base,) = re.findall(r"\+40\.0 \(\+(\d+\.\d) – \+(\d+\.\d)\)", page.text)
    low, high = map(float, against_base)
    assert low < 40 < high
    assert "+30.0 (+" in page.text  # against math; nothing is kept of the others
    assert len(re.findall(r"\(\+", page.text)) == 2


def test_a_run_that_has_not_finished_says_how_far_it_is(tmp_path):
    directory = leave_run(tmp_path, generations=3, finished=False)
    with (directory / "history.jsonl").open("a") as file:
        file.write('{"search": "evolved", "gen')
    page = report(directory)
    assert "stopped" in page.text
    assert "12 of 12" in page.text
    assert f"evojax-merge resume {directory.name}" in page.text.replace("'", "")
    assert "Results" not in page.text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", "[{"),
        ("recipe.yaml", "a: ["),
        ("front.json", "{}"),
        ("examples.json", '{"items": 3}'),
        ("searches.json", "[]"),
        ("curve.json", '[{"evaluations": "many"}]'),
        ("config.yaml", "a: [b"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(tmp_path, file, text):
    directory = leave_run(tmp_path, tasks=TWO, members=2)
    (directory / file).write_text(text)
    page = report(directory)
    assert f"{file} is left out" in page.text
    assert "Going on" in page.text


def test_a_run_of_an_older_version_is_shown(tmp_path):
    directory = leave_run(tmp_path)
    for file in ("searches.json", "examples.json"):
        (directory / file).unlink()
    page = report(directory)
    assert "ParameterSpace" in page.text
    assert "Answers" not in page.text


def test_a_path_through_layers_is_drawn_hop_by_hop(tmp_path):
    directory = leave_run(tmp_path)
    leave_path(directory, hops=12)
    page = report(directory)
    assert page.text.count("layer 5") >= 2
    assert "12 hops" in page.text
    assert "× 0.5" in page.text


def test_pictures_are_small_copies_within_the_page(tmp_path):
    directory = leave_run(tmp_path)
    rng = np.random.default_rng(0)
    for method, side in (("base", 16), ("evolved", 300)):
        folder = directory / "images" / method
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    (directory / "images" / "evolved" / "000.png").write_bytes(b"no picture")
    page = report(directory)
    kinds = [one.split(";")[0] for one in page.values("src")]
    assert kinds == ["data:image/png"] * 8 + ["data:image/jpeg"] * 7
    assert (directory / "report.html").stat().st_size < 1_500_000


def test_the_command_makes_the_page_of_a_run(tmp_path, capsys):
    directory = leave_run(tmp_path / "run")
    main(["report", str(directory)])
    assert "report.html" in capsys.readouterr().out
    assert read_page(directory / "report.html").text


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds neither a run"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_commands_are_words_of_a_shell(tmp_path):
    page = report(leave_run(tmp_path / "it's $HOME"))
    (words,) = re.findall(r"evojax-merge apply (.*) --out DIR", page.text)
    assert shlex.split(words) == ["it's $HOME"]


def test_a_page_shows_nothing_from_outside_the_run(tmp_path, capsys):
    directory = leave_run(tmp_path / "run")
    (tmp_path / "secret").write_text("name: secret")
    (directory / "config.yaml").unlink()
    (directory / "config.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(SystemExit):
        main(["report", str(directory)])
    assert "leads out of the directory" in capsys.readouterr().err
    assert not (directory / "report.html").exists()


def test_a_report_that_fails_is_a_warning_and_costs_no_run(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    outcome = Outcome(None, tmp_path, Console(quiet=True), Course(tmp_path, (Step(steps.REPORT),)))
    with pytest.warns(RuntimeWarning, match=r"report\.html: is not written.*holds neither a run"):
        outcome.report()
