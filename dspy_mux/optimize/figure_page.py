"""One self-contained HTML page of figures: titles and captions as text, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..notebook import escaped

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Tables scroll in a box of their own; a shadow says on which side there is more, and the first
#: column stays. Needs the colours `--surface` and `--shade`.
SCROLL = """
.scroll { overflow-x: auto; max-width: 100%; background:
  linear-gradient(to right, var(--surface) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--surface) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / 1rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / 1rem 100% no-repeat scroll }
@media (max-width: 40rem) {
  .scroll :is(th, td):first-child { position: sticky; left: 0; z-index: 1; max-width: 9rem;
    background: var(--surface); white-space: normal; overflow-wrap: anywhere }
}
"""
_STYLE = (
    """
:root { color-scheme: light dark; --surface: #ffffff; --ink: #1b2027; --quiet: #59626e;
  --grid: #dfe3e8; --shade: rgba(0, 0, 0, .25) }
@media (prefers-color-scheme: dark) {
  :root { --surface: #181c22; --ink: #e7eaee; --quiet: #a2abb7; --grid: #333a44;
    --shade: rgba(255, 255, 255, .3) }
}
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--surface);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.4rem; line-height: 1.25; margin: .25rem 0 1rem }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 1.5rem 0 .75rem }
h3 { font-size: 1rem; margin: 0 }
figure { margin: 1.5rem 0 2rem }
figure p { margin: .25rem 0; font-size: .875rem; color: var(--quiet); max-width: 50rem }
.plot { overflow: hidden }
.plot .main-svg, .plot .main-svg .bg { background: none !important; fill: transparent !important }
.plot .main-svg :not(.hovertext) > text, .plot .annotation-text { fill: var(--ink) !important }
.plot :is(.gridlayer, .zerolinelayer) path { stroke: var(--grid) !important }
"""
    + SCROLL
    + """
.scroll :is(th, td):first-child, .scroll td:not(.number) { min-width: 7rem }
.dspy-mux { max-width: none }
.dspy-mux > p { max-width: 60em }
.dspy-mux .scroll td { overflow-wrap: break-word }
"""
)
_CONFIG = {"responsive": True, "displayModeBar": False}


def page(title: str, sections: Sequence[tuple[str, Sequence[go.Figure]]], intro: str = "") -> str:
    """Return one HTML page with each section's figures under its heading.

    Args:
        title: of the page.
        sections: headings, none where they are empty, with their figures.
        intro: HTML between the title and the figures.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escaped(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{_STYLE}</style></head><body><h1>{escaped(title)}</h1>{intro}"
    ]
    with_plotly = True  # the library is embedded once, before the first figure
    for heading, figures in sections:
        parts.append(f"<h2>{escaped(heading)}</h2>" if heading else "")
        for figure in figures:
            parts.append(_figure(figure, with_plotly=with_plotly))
            with_plotly = False
    return "".join([*parts, "</body></html>\n"])


def _figure(figure: go.Figure, *, with_plotly: bool) -> str:
    """Return a figure whose texts are HTML, which wraps on a narrow page, and not in the plot."""
    import plotly.graph_objects as go

    title, caption = figure.layout.title, figure.layout.meta["caption"]
    bare = go.Figure(figure)
    bare.update_layout(
        title={"text": None, "subtitle": {"text": None}}, margin={"t": 24, "l": 48, "r": 12}
    )
    bare.update_layout(dragmode=False)  # a finger scrolls the page
    plot = bare.to_html(full_html=False, include_plotlyjs=with_plotly, config=_CONFIG)
    described = f"Chart: {title.text}. {title.subtitle.text}. {caption}"
    # Plotly's texts are HTML with markup escaped; these are texts of ours, with escaped names.
    return (
        f"<figure><figcaption><h3>{title.text}</h3><p>{title.subtitle.text}</p></figcaption>"
        f"<div class='plot' role='img' aria-label='{_quoted(described)}'>{plot}</div>"
        f"<p>{caption}</p></figure>"
    )


def _quoted(markup: str) -> str:
    """Return escaped text for an attribute in single quotes."""
    return markup.replace("'", "&#x27;")
