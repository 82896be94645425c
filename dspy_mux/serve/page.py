"""The page at `/`: one HTML document that needs no other address, and its security headers."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
#: What the document's <style> and <script> hold, by the name of their place in page.html.
_PARTS = {"style": ("page.css",), "script": ("page.js", "board.js")}


@cache
def page() -> tuple[bytes, dict[str, str]]:
    """Return the page in UTF-8 and the headers that it is sent with.

    The Content-Security-Policy names the hashes of its own script and style: nothing else runs,
    nothing is loaded, and only this server is asked.
    """
    document = (_HERE / "page.html").read_text(encoding="utf-8")
    hashes = {}
    for name, files in _PARTS.items():
        text = "".join((_HERE / file).read_text(encoding="utf-8") for file in files)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[name] = f"'sha256-{digest}'"
        document = document.replace("{{%s}}" % name, text)  # noqa: UP031  (braces are the text)
    policy = {
        "default-src": "'none'",
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return document.encode(), {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(" ".join(each) for each in policy.items()),
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
