"""`python -m eval report`: write a run folder as one self-contained HTML page.

`read` reads the rows; `accuracy`, `risk`, `members` and `flows` draw charts, `questions` lists the
questions; `page` puts them together with its style and scripts (`page.html`, `page.css`,
`charts.js`, `questions.js`). The page is made for browsers on a desk or a phone, and for paper.
"""

from .page import write

__all__ = ["write"]
