"""The page at `/`, in a real browser, against a served pool."""

from __future__ import annotations

import time

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.serve.chat import chat_mux
from dspy_mux.serve.settings import ServeSettings

from ..support.browser import Page, opened
from ..support.scripted import scripted_lm
from ..support.served import served

KEY = "a-key-for-these-tests-2"
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


class Address(str):
    """What `opened` opens."""

    def as_uri(self) -> str:
        return str(self)


def slow(prompt: str, draw: int) -> str:
    time.sleep(60)
    return "late"


@pytest.fixture(scope="module")
def page():
    """The page, opened once; each test begins with a fresh load."""
    lms = {
        "qwen": scripted_lm("qwen", [HOSTILE, HOSTILE, "42"]),
        "gemma": scripted_lm("gemma", ["42", RuntimeError("the server is down"), "41"]),
    }
    typed = dspy.Signature("city: str, year: int, metric: bool, tags: list[str] -> answer")
    talk = {name: scripted_lm(name, lambda prompt, draw: "Hello there.") for name in "ab"}
    never = {"slow": scripted_lm("slow", slow, latency=60)}
    broken = {"broken": scripted_lm("broken", [RuntimeError("no such <b>model</b>")])}
    muxes = {
        "hostile": SLMMux("question -> answer", lms, k=3, threshold=0.9),
        "typed": SLMMux(typed, {"one": scripted_lm("one", ["7"])}, k=1),
        "chat": chat_mux(talk, k=2),
        "slow": SLMMux("question -> answer", never, k=1),
        "shy": SLMMux("question -> answer", lms, k=3, threshold=0.9, otherwise="abstain"),
        "upward": SLMMux(
            "question -> answer",
            {"one": scripted_lm("one", ["7", "8"])},
            k=2,
            threshold=0.9,
            otherwise="escalate",
            escalate=scripted_lm("large", ["9"]),
        ),
        "broken": SLMMux("question -> answer", broken, k=1),
    }
    with (
        served(muxes, ServeSettings(keys={"TEST_KEY": KEY}, grace=1)) as url,
        opened(Address(url)) as page,
    ):
        yield page


@pytest.fixture
def fresh(page: Page) -> Page:
    page.driver.refresh()
    page.resize(1280)
    page.wait(lambda: page.find("#key").is_displayed())
    return page


@pytest.fixture
def signed_in(fresh: Page) -> Page:
    fresh.find("#key").send_keys(KEY + "\n")
    fresh.wait(lambda: fresh.count("#input-0") == 1)
    return fresh


def ask(page: Page, mux: str, text: str = "What is 6 times 7?") -> None:
    page.select("#mux", mux)
    page.find("#input-0").send_keys(text)
    page.find("#send").click()


def decided(page: Page) -> None:
    page.wait(lambda: page.find("#verdict").is_displayed())


def test_a_key_is_asked_for_and_kept_in_memory_alone(fresh: Page):
    assert not fresh.find("#problem").is_displayed()
    fresh.find("#key").send_keys("wrong\n")
    fresh.wait(lambda: "not one of this server's" in fresh.text("#problem"))
    fresh.find("#key").clear()
    fresh.find("#key").send_keys(KEY + "\n")
    fresh.wait(lambda: fresh.count("#input-0") == 1)
    stored = "return [localStorage.length, sessionStorage.length, document.cookie]"
    assert fresh.run(stored) == [0, 0, ""]
    assert "401" in " ".join(fresh.errors())  # Chromium logs each refusal


def test_a_question_is_asked_and_its_verdict_shown(signed_in: Page):
    page = signed_in
    ask(page, "hostile")
    decided(page)
    # What a model says is shown as it is, and nothing of it is run.
    assert page.text("#answer") == HOSTILE
    assert page.count("img") == 0
    assert page.run("return document.title") == "dspy-mux"
    assert page.texts("#badges .badge") == ["by qwen", "✗ not trusted"]
    assert page.text("#sure-value") == "0.67"
    assert page.find("#sure").get_attribute("aria-valuenow") == "0.67"
    assert page.texts("#answers .text") == [HOSTILE, "42", "41"]
    assert page.texts("#answers .count") == ["2 votes", "2 votes", "1 vote"]
    letters = dict(zip(page.texts("#answers .text"), page.texts("#answers .vote"), strict=True))
    assert sorted(letters.values()) == ["A", "B", "C"]
    rows = [letters[HOSTILE]] * 2 + [letters["42"]] * 2 + ["–", letters["41"]]
    assert page.texts("#members .vote") == rows
    [qwen, gemma] = page.texts("#members .note")
    assert qwen == "confidence 0.67"
    assert "1 draw abstained: " in gemma
    assert "the server is down" in gemma
    facts = dict(zip(page.texts("#facts dt"), page.texts("#facts dd"), strict=True))
    assert facts["Calls"] == "6"
    assert "not trusted" in page.text("#status")
    # Chromium logs the one request without a key, nothing else.
    assert all("401" in error for error in page.errors())
    host = page.requests[0].rstrip("/")
    assert {request.partition("/v1/mux")[0].rstrip("/") for request in page.requests} == {host}


def test_an_answer_that_is_kept_back_is_not_shown_as_one(signed_in: Page):
    page = signed_in
    ask(page, "shy")
    decided(page)
    assert page.text("#answer") == "Kept back, as it is not trusted"
    assert page.texts("#badges .badge") == ["by qwen", "✗ not trusted"]
    assert page.text("#status").startswith("Answer: none; confidence 0.67")


def test_an_answer_in_place_of_the_pool_has_no_confidence_of_its_own(signed_in: Page):
    page = signed_in
    ask(page, "upward")
    decided(page)
    assert page.text("#answer") == "9"
    badges = ["by scripted/large", "in place of the pool", "✗ the pool's answer was not trusted"]
    assert page.texts("#badges .badge") == badges
    assert page.text("#sure-about").startswith("Of the pool's answer; of scripted/large's own, no")
    assert page.text("#status").startswith("Answer: 9; the pool's confidence 0.50")


def test_every_draw_is_seen_as_it_settles(signed_in: Page):
    page = signed_in
    page.run(
        "window.seen = []; const status = document.getElementById('status');"
        "new MutationObserver(() => seen.push(status.textContent))"
        ".observe(status, {childList: true, characterData: true, subtree: true});"
    )
    ask(page, "hostile")
    decided(page)
    told = [text for text in page.run("return seen") if " of 6 draws" in text]
    assert [text[0] for text in told] == list("123456")


def test_typed_inputs_have_a_field_each(signed_in: Page):
    page = signed_in
    page.select("#mux", "typed")
    kinds = "return [...document.querySelectorAll('#inputs [name]')].map(e => e.type)"
    assert page.run(kinds) == ["textarea", "number", "select-one", "textarea"]
    assert page.texts("#inputs label") == ["city", "year", "metric", "tags"]
    page.find("#input-0").send_keys("Paris")
    page.find("#input-1").send_keys("1900")
    page.find("#input-3").send_keys("not JSON")
    page.find("#send").click()
    page.wait(lambda: "tags: this is not JSON" in page.text("#problem"))
    assert page.run("return document.activeElement.id") == "input-3"
    page.find("#input-3").clear()
    page.find("#input-3").send_keys('["old", "large"]')
    page.find("#send").click()
    decided(page)
    assert page.text("#answer") == "7"
    assert not page.find("#problem").is_displayed()


def test_chat_is_asked_by_keyboard_alone(signed_in: Page):
    from selenium.webdriver.common.keys import Keys

    page = signed_in
    page.select("#mux", "chat")
    page.find("#input-0").send_keys("Hello", Keys.CONTROL, Keys.ENTER)
    decided(page)
    assert page.text("#answer") == "Hello there."
    assert page.text("#members").count("A") >= 4


def test_errors_and_stops_are_said(signed_in: Page):
    page = signed_in
    ask(page, "broken")
    page.wait(lambda: page.find("#problem").is_displayed())
    assert "no such <b>model</b>" in page.text("#problem")
    assert not page.find("#verdict").is_displayed()
    ask(page, "slow")
    page.wait(lambda: page.find("#stop").is_displayed())
    page.find("#stop").click()
    page.wait(lambda: "Stopped" in page.text("#status"))
    assert page.find("#send").is_enabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone(signed_in: Page, theme: str):
    page = signed_in
    page.prefer(theme)
    page.resize(390)
    ask(page, "hostile", "What? " * 40)
    decided(page)
    assert page.run("return document.documentElement.scrollWidth") <= 390
    small = (
        "return [...document.querySelectorAll('button, select, textarea, input')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 40).map(e => e.id)"
    )
    assert page.run(small) == []  # a finger's width
    assert page.run(CONTRAST) == []


#: Texts whose colour is too close to what is behind them (WCAG AA, 4.5:1).
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d");
const light = css => {
  canvas.fillStyle = css;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const behind = element => {
  for (; element; element = element.parentElement) {
    const css = getComputedStyle(element).backgroundColor;
    if (!/^rgba.*, 0\\)$/.test(css)) return css;
  }
  return "white";
};
const poor = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || !element.offsetParent) continue;
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
  const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  if (ratio < 4.5) poor.push(`${element.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return poor;
"""


def test_every_control_has_a_name(signed_in: Page):
    page = signed_in
    page.select("#mux", "typed")
    nameless = (
        "return [...document.querySelectorAll('button, select, textarea, input')]"
        ".filter(e => !(e.labels?.length || e.textContent.trim())).map(e => e.id)"
    )
    assert page.run(nameless) == []
    assert page.find("#status").get_attribute("role") == "status"
    assert page.find("#problem").get_attribute("role") == "alert"
