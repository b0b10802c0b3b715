"""Reports in a real browser: nothing is fetched, nothing overflows, and what can be chosen acts."""

import time
from pathlib import Path

import pytest

from evojax_merge.report.html.run import write_report
from evojax_merge.report.html.sweep import write_sweep_report
from evojax_merge.report.jobs import look_at
from tests.report.kept_factory import leave_path, leave_run
from tests.report.test_html_run import HOSTILE
from tests.report.test_html_sweep import leave_sweep

pytestmark = pytest.mark.browser

TWO, FOUR = ("math", "japanese"), ("math", "japanese", "code", "size")

SCRIPTS = Path(__file__).parent / "scripts"
CONTRAST = (SCRIPTS / "contrast.js").read_text()
OVERFLOWING = (SCRIPTS / "overflowing.js").read_text()
NAMELESS = (SCRIPTS / "nameless.js").read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports of a run with two objectives, one with four, one with a path, and a sweep."""
    folder = tmp_path_factory.mktemp("reports")
    two = leave_run(folder / "two", tasks=TWO, members=6, answer="18 − 7 = 11\n答えは11です。")
    four = leave_run(
        folder / "four", generations=500, tasks=FOUR, members=60, answer="言葉 " * 20_000
    )
    path = leave_run(folder / "path", sources=("a" * 200, "b"), answer="x" * 3_000)
    leave_path(path, hops=60)
    names = leave_sweep(folder / "sweep")
    jobs = [look_at(folder / "sweep", name) for name in names]
    found = {one.name: write_report(one) for one in (two, four, path)}
    return {**found, "sweep": write_sweep_report(folder / "sweep", jobs)}


KINDS = ("two", "four", "path", "sweep")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_at_once_without_a_complaint_and_without_a_request(browser, pages, kind):
    browser.complaints(), browser.requests()
    began = time.perf_counter()
    browser.open(pages[kind])
    assert browser.run("return document.readyState") == "complete"
    loaded = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert loaded < 1_000, f"{time.perf_counter() - began} s in all"
    assert browser.complaints() == []
    assert browser.requests() == [pages[kind].as_uri()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [320, 380, 1200])
def test_nothing_is_wider_than_the_window(browser, pages, kind, width):
    browser.open(pages[kind], width=width)
    assert browser.run("return window.innerWidth") == width
    assert browser.run(OVERFLOWING) == []
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_on_what_is_behind_it(browser, pages, kind, scheme):
    browser.open(pages[kind], scheme=scheme)
    assert browser.run("return matchMedia('(prefers-color-scheme: dark)').matches") == (
        scheme == "dark"
    )
    assert browser.run(CONTRAST) == []


@pytest.mark.parametrize("kind", KINDS)
def test_all_text_can_be_read_on_paper(browser, pages, kind):
    browser.open(pages[kind], scheme="dark")
    browser.wear("dark", media="print")
    assert (
        browser.run("return getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert browser.run(CONTRAST) == []


@pytest.mark.parametrize(("kind", "members"), [("two", 6), ("four", 60)])
@pytest.mark.parametrize("event", ["mouseenter", "focus", "click"])
def test_a_member_that_is_pointed_at_shows_how_to_build_it(browser, pages, kind, members, event):
    browser.open(pages[kind])
    shown = "return document.querySelector('.chosen code').textContent"
    assert "--select" in browser.run(shown)  # the knee
    last = members - 1
    browser.run(
        "document.querySelectorAll('.pane')[0].querySelector(`[data-member='${arguments[0]}']`)"
        ".dispatchEvent(new Event(arguments[1]))",
        str(last),
        event,
    )
    assert browser.run(shown) == f"evojax-merge apply {kind} --select {last} --out DIR"
    assert "on" in browser.run(f"return document.getElementById('member-{last}').className")


def test_arrow_keys_go_through_the_front_and_through_a_curve(browser, pages):
    from selenium.webdriver.common.keys import Keys

    browser.open(pages["two"])
    knee = browser.run("return document.querySelector('.pane .member.knee').dataset.member")
    browser.run("document.querySelector('.pane .member.knee').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    shown = browser.run("return document.querySelector('.chosen strong').textContent")
    assert shown == f"Member {(int(knee) + 1) % 6}"
    browser.run("document.querySelector('svg.chart[data-x]').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert "best so far" in browser.run("return document.querySelector('.readout').textContent")


def test_the_filter_shows_the_items_that_are_asked_for(browser, pages):
    browser.open(pages["two"])
    visible = (
        "return [...document.querySelectorAll('.example')].filter((e) => e.offsetHeight).length"
    )
    assert browser.run(visible) == 6
    (choice,) = browser.all(".filter select")
    for value, expected in (("won", 3), ("lost", 3), ("differs", 6), ("all", 6)):
        choice.find_element("css selector", f"option[value={value}]").click()
        assert browser.run(visible) == expected, value
        assert browser.run("return document.querySelector('.filter output').textContent") == (
            f"{expected} of 6 shown"
        )


def test_a_copy_button_copies_the_command(browser, pages):
    browser.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    browser.open(pages["two"])
    button = browser.all(".commands .copy")[0]
    command = browser.run("return document.querySelector('.commands code').textContent")
    button.click()
    time.sleep(0.2)
    assert button.text == "copied"
    copied = browser.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))"
    )
    assert copied == command


def test_tabs_and_sorting_act(browser, pages):
    browser.open(pages["four"])
    figure = browser.all("#curves figure")[0]
    figure.find_elements("css selector", "label")[2].click()
    panes = [one.is_displayed() for one in figure.find_elements("css selector", ".pane")]
    assert panes == [False, False, True]
    column = (
        "return [...document.querySelectorAll('.members tbody tr')]"
        ".map((row) => parseFloat(row.cells[1].textContent))"
    )
    browser.run("document.querySelectorAll('.members .sort')[1].click()")
    values = browser.run(column)
    assert values == sorted(values, reverse=True)
    browser.run("document.querySelectorAll('.members .sort')[1].click()")
    assert browser.run(column) == sorted(values)


def test_every_control_has_a_name_and_can_be_reached_by_keys(browser, pages):
    browser.open(pages["two"])
    assert browser.run(NAMELESS) == []
    assert browser.run("return document.documentElement.lang") == "en"
    assert browser.run("return document.title").startswith("small")


def test_nothing_that_strangers_wrote_acts(browser, tmp_path):
    for number, name in enumerate(HOSTILE):
        run = tmp_path / str(number)
        leave_run(run, tasks=(name, "b"), members=2, answer=name, sources=(name, "other"))
        browser.complaints(), browser.requests()
        page = write_report(run)
        browser.open(page)
        assert browser.complaints() == []
        assert browser.requests() == [page.as_uri()]
        browser.run("document.querySelectorAll('.copy, .sort').forEach((e) => e.click())")
        assert browser.run("return document.images.length") == 0


def test_a_page_is_whole_without_scripts(browser, pages):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(pages["two"])
        assert not browser.all(".filter")[0].is_displayed()
        assert len([one for one in browser.all(".example") if one.is_displayed()]) == 6
        assert browser.all(".pane")[0].is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
