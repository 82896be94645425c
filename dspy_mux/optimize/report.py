"""TODO"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import notebook as showing
from ..bank.collect import Collected
from ..errors import ConfigurationError
from ..text import in_markdown
from .tune import Tuned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class MuxReport:
    """What a compilation found, as a table and as pictures.

    Attributes:
        tuned: the study and the settings compared.
        accuracies: member → accuracy of its plurality answers on the training split, at the k chosen.
        collected: what drawing took, for each split.
        bound: below which chance of a change the compiled mux stops drawing; None where it makes all draws.
    """

    tuned: Tuned
    accuracies: dict[str, float]
    collected: list[Collected]
    bound: float | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> MuxReport:
        return self  # copies of the mux share it, and the study in it

    def rows(self) -> list[dict[str, Any]]:
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
        """What the figures are of."""
        mean, low, high = (100 * value for value in self.tuned.difference)
        return (
            f"{self.tuned.note} Compiled − paper's defaults: {mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, paired, "
            f"n = {self.tuned.questions})."
            + self._on_bound()
            + "".join(f" {done.errors}" for done in self.collected if done.errors)
        )

    def _on_bound(self) -> str:
        if not self.bound or self.tuned.best.rule != "calibrated":
            return ""
        return (
            f" These figures are of all draws; the compiled mux stops where a draw to come changes its answer with a chance below "
            f"{self.bound:g}: `dspy-mux budget` tells what that saves and costs."
        )

    def to_dataframe(self) -> pd.DataFrame:
        """The comparison as a pandas DataFrame; needs the `report` extra."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ConfigurationError(
                "A DataFrame needs pandas, which is not installed: pip install 'dspy-mux[report]'."
            ) from error
        return pd.DataFrame(self.rows())

    def to_markdown(self) -> str:
        lines = ["| what | members | k | rule | accuracy % | n |", "|---|---|---|---|---|---|"]
        for row in self.rows():
            told = [
                row["what"],
                row["members"],
                row["k"],
                row["rule"],
                f"{100 * row['accuracy']:.1f}",
                row["n"],
            ]
            lines.append(f"| {' | '.join(in_markdown(str(cell)) for cell in told)} |")
        return "\n".join([*lines, "", self.note])

    def to_html(self) -> str:
        """The table, and the trials as a picture where plotly is installed; one self-contained page."""
        try:
            pictures = "".join(
                figure.to_html(full_html=False, include_plotlyjs=not index)
                for index, figure in enumerate(self.figures())
            )
        except ConfigurationError:
            pictures = ""
        return f"<!doctype html><meta charset='utf-8'><title>dspy-mux: compiled</title>{self._repr_html_()}{pictures}"

    def figures(self) -> list[go.Figure]:
        from .figures import trials_figure

        return [trials_figure(self.tuned)]

    def _repr_html_(self) -> str:
        columns = ("what", "members", "k", "rule", "accuracy %", "n")
        cells = [
            [
                row["what"],
                row["members"],
                row["k"],
                row["rule"],
                f"{100 * row['accuracy']:.1f}",
                row["n"],
            ]
            for row in self.rows()
        ]
        told = showing.table(columns, cells, numbers=("k", "accuracy %", "n"))
        return showing.section(told, f"<p class='quiet'>{showing.escaped(self.note)}</p>")

    def __str__(self) -> str:
        return self.to_markdown()
