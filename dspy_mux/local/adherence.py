"""Log once what llama.cpp was asked for and left out: of a chat's template, of an answer's format.

It passes over variables that a template does not read, and schemas' keywords that its grammars
cannot express, without a word.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .wire import Body

logger = logging.getLogger("dspy_mux")

#: Warnings that are kept apart for one model; a program may make up schemas as it goes.
_MOST = 100


class Adherence:
    """Watches the requests and replies of one model.

    Args:
        model: the name in warnings.
        render: returns the prompt that the model's template makes of a chat body; None where it
            cannot be had.
    """

    def __init__(self, model: str, render: Callable[[Body], str | None]) -> None:
        self._model, self._render = model, render
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def check_prompt(self, body: Body) -> None:
        """Look for what the template leaves out, once for each thing that could be."""
        messages = body.get("messages") or []
        texts = [m["content"] for m in messages if m["role"] == "system" and m["content"].strip()]
        if texts and self._is_new("system"):
            prompt = self._render(body)
            if prompt is not None and texts[0].strip() not in prompt:
                logger.warning(
                    "The chat template of %s leaves system messages out: the model does not see a "
                    "program's instructions; use another chat template, or CompletionAdapter.",
                    self._model,
                )
        variables = body.get("chat_template_kwargs") or {}
        for name, value in variables.items():
            if not self._is_new(f"variable {name}={value!r}"):
                continue
            # llama.cpp has defaults of its own for truth values, so the opposite is compared.
            other = {**variables, name: not value if isinstance(value, bool) else None}
            prompt = self._render(body)
            if prompt and prompt == self._render({**body, "chat_template_kwargs": other}):
                logger.warning(
                    "The chat template of %s does not read %s: chat_template_kwargs = {%s: %s} "
                    "changes nothing.",
                    self._model,
                    *(name, name, value),
                )

    def check_replies(self, body: Body, replies: Sequence[Body]) -> None:
        """Look for complete replies that break the format they were asked in."""
        schema = _schema_of(body)
        if schema is None:
            return
        for reply in replies:
            choice = reply["choices"][0]
            text = choice["message"].get("content")
            if choice["finish_reason"] != "stop" or text is None:
                continue  # cut off at max_tokens, or a tool call
            broken = _broken(text, schema)
            if broken and self._is_new(f"{json.dumps(schema, sort_keys=True)} {broken}"):
                logger.warning(
                    "A reply of %s does not follow its response format: %s. llama.cpp does not "
                    "hold a model to every part of a schema; check such answers in the program.",
                    self._model,
                    broken,
                )

    def _is_new(self, thing: str) -> bool:
        with self._lock:
            if thing in self._seen or len(self._seen) >= _MOST:
                return False
            self._seen.add(thing)
            return True


def _schema_of(body: Body) -> dict[str, Any] | None:
    """Return the JSON schema that a body asks for; None without one."""
    asked = body.get("response_format")
    if asked is None:
        return body.get("json_schema")
    return asked["json_schema"]["schema"] if asked["type"] == "json_schema" else {"type": "object"}


def _broken(text: str, schema: dict[str, Any]) -> str | None:
    """Return what in `text` breaks the schema, without the text itself; None where nothing does."""
    # Imported where a format was asked for: it takes a tenth of a second.
    from jsonschema import exceptions, validators

    try:
        value = json.loads(text)
    except ValueError:
        return "it is not JSON (a stop word may have cut it off)"
    validator = validators.validator_for(schema, default=validators.Draft202012Validator)(schema)
    try:
        error = exceptions.best_match(validator.iter_errors(value))
    except Exception:  # a schema that llama.cpp reads and jsonschema does not
        logger.debug("A response format cannot be checked", exc_info=True)
        return None
    return None if error is None else f"{error.validator!r} does not hold at {error.json_path}"
