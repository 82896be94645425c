"""The table of DSPy's modules and optimizers in docs/modules.md: every row is tried here.

`python -m tests.mux.test_modules_table` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import dspy
import dspy.experimental
import pytest
from dspy.dsp.utils.utils import dotdict
from dspy.teleprompt import Teleprompter

from .module_trials import MODULES, Trial, any_lm
from .optimizer_trials import OPTIMIZERS

PAGE = Path(__file__).parents[2] / "docs" / "modules.md"
HEAD = """# Every module and optimizer of DSPy

What each public module and optimizer of DSPy does with a mux. *In a mux*: it is the mux's program,
`SLMMux(dspy.ReAct(…), lms)`; of an optimizer, what it compiled is. *Around a mux*: the mux is what
it runs or compiles, `dspy.BestOfN(mux, …)`, `optimizer.compile(mux, …)`. A test tries every row and
writes this page.
"""
TRIALS = {**MODULES, **OPTIMIZERS}
#: Bases and other names of public classes that are in the table.
LEFT_OUT = {"Module", "Teleprompter", "BootstrapRS", "Tool", "bootstrap_trace_data"}

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def public_names() -> set[str]:
    """The modules and optimizers that DSPy exports."""
    found = {*dspy.predict.__all__, *dspy.teleprompt.__all__, *dspy.retrievers.__all__}
    for place in (dspy, dspy.experimental):
        for name in dir(place):
            cls = getattr(place, name, None)
            if isinstance(cls, type) and issubclass(cls, (dspy.Module, Teleprompter)):
                found.add(name)
    return found - LEFT_OUT


def outcome(trial: Trial) -> str:
    """Try it, and return its cell of the table.

    Raises:
        AssertionError: it failed, and not with the error that the note explains.
    """
    if trial.run is None:
        return f"no: {trial.note}"
    passages = [dotdict(long_text="2 + 2 is 4.")]
    with dspy.context(lm=any_lm("configured"), rm=lambda query, k, **_: passages):
        try:
            assert trial.run()
        except Exception as error:
            if trial.error is None or not re.search(trial.error, str(error)):
                raise
            return f"no: {trial.note}"
    assert trial.error is None, f"It works now; the page says: no, {trial.note}"
    return f"yes: {trial.note}"


def row(name: str) -> str:
    inside, around = TRIALS[name]
    return f"| `{name}` | {outcome(inside)} | {outcome(around)} |"


def page() -> str:
    parts = [HEAD]
    for title, names in (("Modules", MODULES), ("Optimizers", OPTIMIZERS)):
        parts.append(f"## {title}\n\n| | in a mux | around a mux |\n|---|---|---|")
        parts.append("\n".join(row(name) for name in names) + "\n")
    return "\n".join(parts)


def test_every_public_module_and_optimizer_has_a_row():
    assert public_names() == set(TRIALS)


@pytest.mark.parametrize("name", TRIALS)
def test_the_row_says_what_happens(name):
    assert row(name) in PAGE.read_text().splitlines()


def test_the_page_has_no_other_rows():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TRIALS)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
