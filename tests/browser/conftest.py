"""A real browser that fetches nothing by itself."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip

WANTED = {"goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}


class Browser:
    """Chromium, with what the tests ask of it."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Load a page of the disk in a window of some size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.wear(scheme)
        self.driver.get(page.as_uri())

    def wear(self, scheme: str = "light", media: str = "") -> None:
        """Ask for colours, and perhaps for those of paper."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )

    def run(self, script: str, *given):
        """The value of a script's `return`."""
        return self.driver.execute_script(script, *given)

    def all(self, selector: str):
        return self.driver.find_elements("css selector", selector)

    def complaints(self) -> list[str]:
        """What the console says."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """All addresses that were asked for, other than data in the page."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return [one for one in found if not one.startswith("data:")]


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("there is no chromium or no chromedriver (Debian: chromium chromium-driver)")
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    for name, value in WANTED.items():
        options.set_capability(name, value)
    service = selenium.ChromeService(driver)
    started = selenium.Chrome(options=options, service=service)
    try:
        yield Browser(started)
    finally:
        started.quit()
