"""A page in headless Chromium, with what it asked for and complained of."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


class Page:
    """One page; `requests` are the addresses it asked for, `errors()` what its console holds."""

    def __init__(self, driver: Any):
        self.driver = driver

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def count(self, selector: str) -> int:
        return len(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.texts(selector)[0])

    def texts(self, selector: str) -> list[str]:
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(element => element.textContent)",
            selector,
        )

    def select(self, selector: str, value: str) -> None:
        self.driver.execute_script(
            "const [element] = document.querySelectorAll(arguments[0]);"
            "element.value = arguments[1];"
            "for (const kind of ['input', 'change'])"
            "  element.dispatchEvent(new Event(kind, {bubbles: true}))",
            selector,
            value,
        )
        assert self.find(selector).get_attribute("value") == value

    def choose(self, what: str, value: str) -> None:
        """Set a filter of the list of questions."""
        self.select(f"#filter-{what}", value)

    def counted(self) -> tuple[int, int]:
        """Questions listed, of how many."""
        found = re.fullmatch(r"(\d+) of (\d+) questions", self.text("#count"))
        assert found
        return int(found[1]), int(found[2])

    def resize(self, width: int) -> None:
        told = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", told)
        # Charts follow the width a moment later.
        settled = (
            "return [...document.querySelectorAll('.plot .main-svg')]"
            ".every(e => e.clientWidth <= e.closest('.plot').clientWidth)"
        )
        self.wait(lambda: self.run("return innerWidth") == width and self.run(settled))

    def prefer(self, theme: str) -> None:
        told = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", told)

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline, "the page did not come to it"
            time.sleep(0.05)

    @property
    def requests(self) -> list[str]:
        return self.run(
            "const loaded = performance.getEntriesByType('resource');"
            "return [location.href, ...loaded.map(entry => entry.name)]"
        )

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def opened(path: Path) -> Iterator[Page]:
    """The file in a fresh Chromium, its charts drawn. A test without Chromium fails: what it is
    named for was not looked at."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = (
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    )
    if chromium is None or driver is None:
        pytest.fail(
            "Reports are tested in a real browser: install it "
            "(Debian: apt install chromium chromium-driver)."
        )
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            page = Page(browser)
            page.prefer("light")
            browser.get(path.as_uri())
            page.resize(1280)
            yield page
        finally:
            browser.quit()
