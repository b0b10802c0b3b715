"""The report of a sweep has means over seeds and leads to the reports of its jobs."""

from evojax_merge.report.html.sweep import write_sweep_report
from evojax_merge.report.jobs import FINISHED_FILE, look_at
from evojax_merge.report.results import load_results, save_results
from tests.report.kept_factory import leave_run, write_yaml
from tests.report.page_reader import read_page


def leave_sweep(directory, strategies=("cma_es", "snes"), seeds=(0, 1, 2)):
    """A sweep of jobs that are done, in which scores grow by 0.02 from job to job."""
    names = []
    for number, (strategy, seed) in enumerate((s, n) for s in strategies for n in seeds):
        job = leave_run(directory / str(number))
        overrides = ["operator=ties", f"strategy={strategy}", f"seed={seed}"]
        write_yaml(job / "overrides.yaml", overrides)
        results = load_results(job / "results.json")
        moved = [one.__class__(**{**vars(one), "score": one.score + 0.02 * number})
                 for one in results]  # fmt: skip
        save_results(moved, job / "results.json")
        (job / FINISHED_FILE).touch()
        (job / "report.html").touch()
        names.append(str(number))
    return names


def report(directory, names):
    return read_page(write_sweep_report(directory, [look_at(directory, name) for name in names]))


def test_settings_have_means_with_intervals_over_seeds_the_best_first(tmp_path):
    page = report(tmp_path, leave_sweep(tmp_path))
    assert "finished" in page.text
    assert page.text.index("snes") < page.text.index("cma_es")
    for text in ("62.0", "68.0", "57.0 – 67.0", "60.0 – 64.0", "6 done", "median"):
        assert text in page.text, text
    links = [one for one in page.values("href") if one.startswith("./")]
    assert links == [f"./{number}/report.html" for number in range(6)]


def test_jobs_that_are_not_done_are_there_with_the_reason(tmp_path):
    names = leave_sweep(tmp_path)
    (tmp_path / "4" / FINISHED_FILE).unlink()
    (tmp_path / "4" / "results.json").unlink()
    (tmp_path / "4" / "error.txt").write_text("out of <memory>\n")
    (tmp_path / "5" / "results.json").write_text("[{")
    page = report(tmp_path, names)
    assert "out of <memory>" in page.text
    assert "5: results.json is left out" in page.text
    assert "failed" in page.text
    assert "evojax-merge resume" in page.text


def test_names_of_jobs_are_links_to_files_below_the_sweep_alone(tmp_path):
    name = 'javascript:alert(1)"> <b'
    leave_run(tmp_path / name)
    (tmp_path / name / "report.html").touch()
    page = report(tmp_path, [name])
    (link,) = [one for one in page.values("href") if "alert" in one]
    assert link.startswith("./javascript%3Aalert")
    assert "b" not in page.tags
