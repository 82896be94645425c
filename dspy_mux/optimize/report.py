"""The report of a compilation: the compiled setting beside the paper's and the best member's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from .. import notebook
from ..bank.collect import Collected
from ..errors import MissingExtra
from ..text import in_markdown
from .tuned import Tuned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_COLUMNS = ("what", "members", "k", "rule", "accuracy %", "n")


class ReportRow(TypedDict):
    """One compared setting; `accuracy` is a fraction of the `n` questions."""

    what: str
    members: str
    k: int
    rule: str
    accuracy: float
    n: int


@dataclass(frozen=True)
class MuxReport:
    """What a compilation found, as a table and as pictures.

    Attributes:
        tuned: the study and the settings compared.
        accuracies: member → accuracy (0 to 1) of its plurality answers on the training split, at
            the k chosen.
        collected: calls and cost of the drawing, for each split.
        bound: the chance of a change below which the compiled mux stops drawing; None where it
            makes all draws.
    """

    tuned: Tuned
    accuracies: dict[str, float]
    collected: list[Collected]
    bound: float | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> MuxReport:
        return self  # copies of the mux share it, and the study in it

    def rows(self) -> list[ReportRow]:
        """Return the best member alone, the paper's defaults and the compiled setting."""
        settings = {
            "best member alone": self.tuned.single,
            "paper's defaults": self.tuned.baseline,
            "compiled": self.tuned.best,
        }
        return [
            {
                "what": what,
                "members": ", ".join(setting.members),
                "k": setting.k,
                "rule": setting.rule,
                "accuracy": setting.value,
                "n": self.tuned.questions,
            }
            for what, setting in settings.items()
        ]

    @property
    def note(self) -> str:
        """Sentences on the questions behind the figures, the gain, and failed draws."""
        mean, low, high = (100 * value for value in self.tuned.difference)
        return (
            f"{self.tuned.note} Compiled − paper's defaults: {mean:+.1f} points (95 % interval "
            f"{low:+.1f} to {high:+.1f}, paired, n = {self.tuned.questions})."
            + self._bound_note()
            + "".join(f" {done.errors}" for done in self.collected if done.errors)
        )

    def _bound_note(self) -> str:
        if not self.bound or self.tuned.best.rule != "calibrated":
            return ""
        return (
            " These figures are of all draws; the compiled mux stops where a further draw changes "
            f"its answer with a chance below {self.bound:g}: `dspy-mux budget` shows what that "
            "saves and costs."
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
        """Return the table and the note as Markdown."""
        lines = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {' | '.join(in_markdown(cell) for cell in cells)} |" for cells in self._cells()
        ]
        return "\n".join([*lines, "", self.note])

    def to_html(self) -> str:
        """Return one self-contained page: the table, and the trials plotted if plotly is there."""
        try:
            pictures = "".join(
                figure.to_html(full_html=False, include_plotlyjs=not index)
                for index, figure in enumerate(self.figures())
            )
        except MissingExtra:
            pictures = ""
        return (
            "<!doctype html><meta charset='utf-8'><title>dspy-mux: compiled</title>"
            f"{self._repr_html_()}{pictures}"
        )

    def figures(self) -> list[go.Figure]:
        """Return the trials as a plotly figure.

        Raises:
            MissingExtra: plotly is not installed.
        """
        from .figures import trials_figure

        return [trials_figure(self.tuned)]

    def _cells(self) -> list[list[str]]:
        return [
            [
                row["what"],
                row["members"],
                str(row["k"]),
                row["rule"],
                f"{100 * row['accuracy']:.1f}",
                str(row["n"]),
            ]
            for row in self.rows()
        ]

    def _repr_html_(self) -> str:
        rows = [[notebook.escaped(cell) for cell in cells] for cells in self._cells()]
        table = notebook.table(_COLUMNS, rows, numbers=("k", "accuracy %", "n"))
        return notebook.section(table, f"<p class='quiet'>{notebook.escaped(self.note)}</p>")

    def __str__(self) -> str:
        return self.to_markdown()
