"""The report of a compilation: the compiled setting beside the paper's and the best member's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from .. import notebook
from ..bank.collect import Collected
from ..errors import MissingExtra
from ..text import in_markdown, signed
from .points_text import POINT_NUMBERS, points_note, points_table
from .tuned import Curve, Setting, Tuned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_COLUMNS = ("what", "members", "k", "rule", "accuracy %", "n")
_NUMBERS = ("k", "calls", "accuracy %", "95 % interval", "n", *POINT_NUMBERS)
#: Names `Tuned.fewer` in tables.
FEWER = "fewer calls, within one standard error"
CURVE_COLUMNS = ("rule", "k", "calls", "accuracy %", "95 % interval")


class ReportRow(TypedDict):
    """One compared setting; `accuracy` is a fraction of the `n` questions.

    `decided_by` is the rule that decides in the compiled mux, else `rule`. `note` says where the
    figure comes from, and how it is biased.
    """

    what: str
    members: str
    k: int
    rule: str
    decided_by: str
    accuracy: float
    n: int
    note: str


@dataclass(frozen=True)
class MuxReport:
    """What a compilation found, as a table and as pictures.

    Attributes:
        tuned: the study and the settings compared.
        accuracies: member → accuracy (0 to 1) of its plurality answers on the training split, at
            the k chosen.
        collected: calls and cost of the drawing, for each split.
        bound: of the answers of questions that stop early, the share that may differ from those of
            all draws; None where the compiled mux makes all draws.
        greedy_left_out: a sentence on why no greedy draws were tried; None where they were, or
            were not asked for.
        fewer_calls: whether `tuned.fewer` was compiled, where there is one, not `tuned.best`.
        threshold: the score from which an answer counts as correct; None where none was stated.
        decided_by: the rule that decides in the compiled mux, which may be another than the setting
            names: where `calibrated` finds on its labels that a simple one does as well.
    """

    tuned: Tuned
    accuracies: dict[str, float]
    collected: list[Collected]
    bound: float | None = None
    greedy_left_out: str | None = None
    fewer_calls: bool = False
    threshold: float | None = None
    decided_by: str | None = None

    @property
    def compiled(self) -> Setting:
        """The setting that was compiled."""
        fewer = self.tuned.fewer if self.fewer_calls else None
        return self.tuned.best if fewer is None else fewer

    def __deepcopy__(self, memo: dict[int, object]) -> MuxReport:
        return self  # copies of the mux share it, and the study in it

    def _settings(self) -> dict[str, Setting]:
        settings = {
            "best member alone": self.tuned.single,
            "paper's defaults": self.tuned.baseline,
            "compiled": self.compiled,
        }
        if self.compiled != self.tuned.best:
            settings["most accurate"] = self.tuned.best
        elif self.tuned.fewer is not None:
            settings[FEWER] = self.tuned.fewer
        return settings

    def rows(self) -> list[ReportRow]:
        """Return the best member alone, the paper's defaults and the compiled setting."""
        return [
            {
                "what": what,
                "members": ", ".join(setting.members),
                "k": setting.k,
                "rule": setting.rule,
                "decided_by": self._decider(what) or setting.rule,
                "accuracy": setting.value,
                "n": self.tuned.questions,
                "note": self.tuned.note,
            }
            for what, setting in self._settings().items()
        ]

    def _decider(self, what: str) -> str | None:
        """Return the rule that decides in the compiled mux, where it is another than it names."""
        other = self.decided_by not in (None, self.compiled.rule, "budgeted")
        return self.decided_by if other and what == "compiled" else None

    @property
    def note(self) -> str:
        """Sentences on the questions behind the figures, the gain, and failed draws."""
        mean, low, high = (signed(100 * value) for value in self.tuned.difference)
        best = "Compiled" if self.compiled == self.tuned.best else "Most accurate"
        return (
            f"{self.tuned.note} {best} − paper's defaults: {mean} points (95 % interval "
            f"{low} to {high}, paired, n = {self.tuned.questions})."
            + (
                ""
                if self.threshold is None
                else f" An answer counts as correct from a score of {self.threshold:g} on."
            )
            + self._bound_note()
            + ("" if self.tuned.curve is None else f" {self.tuned.curve.note}")
            + (f" {points_note(self.tuned.points)}" if self.tuned.points is not None else "")
            + (f" {self.greedy_left_out}" if self.greedy_left_out else "")
            + "".join(f" {done.errors}" for done in self.collected if done.errors)
        )

    def _bound_note(self) -> str:
        if not self.bound or self.compiled.rule != "calibrated":
            return ""
        return (
            " These figures are of all draws. The compiled mux stops early; of its answers to "
            f"questions that do, {100 * self.bound:g} % at most differ from those of all draws, on "
            "average over questions like these: `dspy-mux budget` shows what that saves and costs."
        )

    def to_dataframe(self) -> pd.DataFrame:
        """Return the comparison as a pandas DataFrame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra(
                "A DataFrame needs pandas, which is not installed: pip install 'dspy-mux[report]'."
            ) from error
        return pd.DataFrame(self.rows())

    def to_markdown(self) -> str:
        """Return the tables and the note as Markdown."""
        lines = _markdown(_COLUMNS, self._cells())
        if self.tuned.curve is not None:
            lines += ["", *_markdown(CURVE_COLUMNS, curve_cells(self.tuned.curve))]
        if self.tuned.points:
            lines += ["", *_markdown(*points_table(self.tuned.points))]
        return "\n".join([*lines, "", self.note])

    def to_html(self) -> str:
        """Return one self-contained page: the table, and the trials plotted if plotly is there."""
        from .figure_page import page

        try:
            figures = self.figures()
        except MissingExtra:
            figures = []
        return page("dspy-mux: compiled", [("", figures)], self._repr_html_())

    def figures(self) -> list[go.Figure]:
        """Return plotly figures: points and accuracy against calls, if any, and the trials.

        Raises:
            MissingExtra: plotly is not installed.
        """
        from .figures import curve_figure, trials_figure
        from .risk_figures import points_figure

        curve, points = self.tuned.curve, self.tuned.points
        own = [points_figure(points)] if points else []
        own += [] if curve is None else [curve_figure(curve, self.tuned.questions)]
        return [*own, trials_figure(self.tuned, self.compiled)]

    def _cells(self) -> list[list[str]]:
        return [
            [
                what,
                ", ".join(setting.members),
                setting.plan.draws,
                setting.plan.label
                + (f", decided by {decider}" if (decider := self._decider(what)) else ""),
                f"{100 * setting.value:.1f}",
                str(self.tuned.questions),
            ]
            for what, setting in self._settings().items()
        ]

    def _repr_html_(self) -> str:
        tables = [_table(_COLUMNS, self._cells())]
        if self.tuned.curve is not None:
            tables.append(_table(CURVE_COLUMNS, curve_cells(self.tuned.curve)))
        if self.tuned.points:
            tables.append(_table(*points_table(self.tuned.points)))
        note = f"<p class='quiet'>{notebook.escaped(self.note)}</p>"
        return notebook.section("".join(tables), note)

    def __str__(self) -> str:
        return self.to_markdown()


def curve_cells(curve: Curve) -> list[list[str]]:
    """Return the rows of a curve's table."""
    return [
        [
            point.plan.label,
            point.plan.draws,
            f"{point.calls_per_question:.1f}",
            f"{100 * point.accuracy:.1f}",
            f"{100 * point.low:.1f} – {100 * point.high:.1f}",
        ]
        for point in curve.points
    ]


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown."""
    cells = [[in_markdown(cell) for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in [columns, *cells]]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:]]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[notebook.escaped(cell) for cell in row] for row in rows]
    return notebook.table(columns, cells, numbers=_NUMBERS)
