"""`python -m eval report`: a run folder as one self-contained HTML page, for a browser on a desk or a phone and for paper.

`reading` takes the rows, each of the chart modules makes its charts of them, `browser` the list of questions, and `page` puts them
together with the page's own style and scripts (`page.html`, `page.css`, `charts.js`, `questions.js`).
"""

from .page import write

__all__ = ["write"]
