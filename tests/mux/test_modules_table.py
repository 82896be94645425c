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
FOOT = """## Where members differ

- GEPA asks a metric what it thinks of each predictor, and shows it the whole program's prediction,
  which is the winner's. `by_member(metric)` shows it the member's own instead.
- BootstrapFewShot and what builds on it (MIPROv2, random search, KNNFewShot) ask the metric about a
  program's prediction alone. Where that is right, every member with the same answer gets a demo of
  its own draw, whether it won or not. Where it is wrong, nobody does: a member that was right there
  learns nothing, as nothing but the metric could tell. Labelled demos and GEPA reach it.
- A Refine around a BestOfN or another Refine runs its attempts without advice and prints "Attempt
  failed": DSPy's own finds the predictors of its own module only, a mux's or not. A BestOfN around
  a Refine works.
- `set_lm` of a larger program is refused before it changes anything, unless it sets a rollout of
  the configured LM.
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
    parts.append(FOOT)
    return "\n".join(parts)


def test_every_public_module_and_optimizer_has_a_row():
    assert public_names() == set(TRIALS)


@pytest.mark.parametrize("name", TRIALS)
def test_the_row_says_what_happens(name):
    assert row(name) in PAGE.read_text().splitlines()


def test_the_page_ends_with_its_notes():
    assert PAGE.read_text().endswith(FOOT)


def test_the_page_has_no_other_rows():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TRIALS)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
