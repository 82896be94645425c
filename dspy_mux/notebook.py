"""HTML for notebooks: escaped text and tables in one style, light or dark.

All text of models is escaped and cannot run.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from .text import visible

_STYLE = """<style>
.dspy-mux { color: inherit; font: 13px/1.5 system-ui, sans-serif; max-width: 60em }
.dspy-mux .scroll { overflow-x: auto }
.dspy-mux table { border-collapse: collapse; margin: .5em 0; color: inherit; background: none;
  font-size: inherit }
.dspy-mux tr, .dspy-mux tbody tr:nth-child(odd), .dspy-mux tbody tr:hover { background: none }
.dspy-mux th, .dspy-mux td { padding: .3em .9em .3em 0; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, .3); color: inherit; background: none;
  text-align: left; vertical-align: top; max-width: 36em; overflow-wrap: anywhere }
.dspy-mux th { font-weight: 600; white-space: nowrap }
.dspy-mux .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.dspy-mux .answer { font-size: 1.3em; font-weight: 600; overflow-wrap: anywhere;
  white-space: pre-wrap; unicode-bidi: isolate }
.dspy-mux .bar { position: relative; min-width: 11em; padding: 0 .5em; margin-bottom: 2px;
  overflow-wrap: anywhere; unicode-bidi: isolate }
.dspy-mux .bar i { position: absolute; inset: 0 auto 0 0; border-radius: 3px;
  background: rgba(128, 128, 128, .3) }
.dspy-mux .won i { background: rgba(0, 120, 210, .4) }
.dspy-mux .bar b { position: relative; font-weight: inherit }
.dspy-mux .won b { font-weight: 600 }
.dspy-mux .quiet { opacity: .75; margin: .3em 0 }
.dspy-mux pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2em 0 .8em;
  padding: .5em .7em; color: inherit; background: rgba(128, 128, 128, .12); border-radius: 4px;
  font-size: 12px; unicode-bidi: isolate }
.dspy-mux summary { cursor: pointer }
</style>"""


def escaped(text: object) -> str:
    """Return a value's text for HTML, between tags or in a quoted attribute.

    >>> escaped("<b>2 > 1</b>")
    '&lt;b&gt;2 &gt; 1&lt;/b&gt;'
    """
    return html.escape(visible(str(text)))


def section(*parts: str) -> str:
    """Join pieces of HTML into one notebook output with its own style."""
    return f"{_STYLE}<div class='dspy-mux'>{''.join(parts)}</div>"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()
) -> str:
    """Return a table.

    Args:
        columns: the column names, as plain text.
        rows: the cells, as HTML.
        numbers: the columns that are aligned to the right.
    """
    kinds = [" class='number'" if column in numbers else "" for column in columns]
    head = "".join(
        f"<th scope='col'{kind}>{escaped(name)}</th>"
        for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        "<div class='scroll' tabindex='0' role='region' aria-label='table'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
