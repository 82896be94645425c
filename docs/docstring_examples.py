"""Show the `>>>` examples of docstrings as code: Markdown would take them for quotations."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: An example: lines from a prompt to the next blank one.
_EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*\n?(?=[ ]*>>> )?)+", re.MULTILINE)


class DocstringExamples(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = _EXAMPLE.sub(
                lambda found: f"```pycon\n{found[0].rstrip()}\n```\n\n", obj.docstring.value
            )
