"""A report's page: written, and what it says it lacks."""

from __future__ import annotations

from pathlib import Path

from eval.report import write
from eval.runs.folder import Run

from ...support.browser import Page

CHARTS = (
    *("calls", "confidence", "risk", "attribution", "subtasks", "sizes", "draws", "debate"),
    "layers",
)
BANKED = ("single", "self_consistency", "agent_forest", "slm_mux")


def report(run: Run | Path, folder: Path) -> Path:
    out = folder / "report.html"
    write(run.path if isinstance(run, Run) else run, out)
    return out


def reasons(page: Page) -> dict[str, str]:
    return {
        name: page.text(f"#{name} .reason") for name in CHARTS if page.count(f"#{name} .reason")
    }
