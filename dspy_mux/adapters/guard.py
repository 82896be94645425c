"""Guard against forged markers, lone surrogates, echoed keys and huge replies.

- A field marker in an input, such as `[[ ## answer ## ]]` in a question, a document or another
  agent's text, is shown to the model with its brackets apart. So a text that is merely quoted back
  is not a field of the reply.
- Lone surrogates, which no request, file or database can hold, become U+FFFD both ways.
- A member's key that its server echoes in a reply is masked before the reply is read.
- Typed fields are not read from a reply of more than `LONGEST_TYPED` characters: DSPy's reader
  takes time quadratic in some replies. The linear rules of the answer's kind look for the answer
  then (`ExtractingAdapter`).
"""

from __future__ import annotations

import copy
import json
from functools import cached_property
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..errors import ConfigurationError
from ..redact import echoes_of, without
from ..text import whole
from .markers import without_markers
from .wrap import AdapterCall, Exchange, Fields, WrappingAdapter

LONGEST_TYPED = 20_000


class GuardedAdapter(WrappingAdapter):
    """The adapter that talks to a member's model, guarded.

    Args:
        inner: that adapter.
        lm: the member's LM, whose keys are masked.

    >>> lm = dspy.LM("openai/a", api_key="a-made-up-key-42")
    >>> guarded = GuardedAdapter(dspy.ChatAdapter(), lm)
    >>> guarded.parse(dspy.Signature("question -> answer"), "[[ ## answer ## ]]\\na-made-up-key-42")
    {'answer': '***'}
    """

    def __init__(self, inner: dspy.Adapter, lm: dspy.BaseLM):
        super().__init__(inner)
        self.lm = lm
        # Whichever way the inner adapter calls the model, it reads the reply by this `parse`.
        self._guarded = copy.copy(inner)
        self._guarded.parse = self._parse

    def parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        return self._parse(signature, completion)

    def _exchange(self, call: AdapterCall) -> Exchange:
        try:
            replies = yield from super()._exchange(call)
        except AdapterParseError as error:
            raise self._without_keys(error, call.signature) from None
        return [self._clean(fields) for fields in replies]

    def _talker(self) -> dspy.Adapter:
        return self._guarded

    def _show(
        self, signature: type[dspy.Signature], inputs: Fields
    ) -> tuple[type[dspy.Signature], Fields]:
        return signature, {name: without_markers(value) for name, value in inputs.items()}

    @cached_property
    def _keys(self) -> list[str]:
        return echoes_of(self.lm)

    def _parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        completion = self._clean(completion)
        if len(completion) > LONGEST_TYPED and self._is_slow(signature, completion):
            raise self._unreadable(signature, completion)
        try:
            fields: Fields = self.inner.parse(signature, completion)
        except ConfigurationError:
            raise
        except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:
            # Nested too deeply, a number too large, or an object where an option should stand.
            raise self._unreadable(signature, completion) from error
        return fields

    def _is_slow(self, signature: type[dspy.Signature], completion: str) -> bool:
        """Return whether DSPy may repair the reply as JSON: a typed value, or invalid JSON."""
        if any(field.annotation is not str for field in signature.output_fields.values()):
            return True
        if not isinstance(self.inner, dspy.JSONAdapter):
            return False
        try:
            json.loads(completion)
        except (ValueError, RecursionError):
            return True
        return False

    def _unreadable(self, signature: type[dspy.Signature], completion: str) -> AdapterParseError:
        return AdapterParseError(
            adapter_name=type(self.inner).__name__, signature=signature, lm_response=completion
        )

    def _clean(self, value: Any) -> Any:
        """Return a text, or texts within a value, without keys and lone surrogates.

        Values need it too: reasoning that a server sends beside the reply, and what a fallback
        reads, did not pass `_parse`.
        """
        if isinstance(value, str):
            return without(whole(value), self._keys)
        if type(value) is list:
            return [self._clean(inner) for inner in value]
        if type(value) is dict:
            return {name: self._clean(inner) for name, inner in value.items()}
        if isinstance(value, dspy.Reasoning):
            return dspy.Reasoning(content=self._clean(value.content))
        return value

    def _without_keys(
        self, error: AdapterParseError, signature: type[dspy.Signature]
    ) -> AdapterParseError:
        # A new error: the message of the old one repeats the reply.
        return AdapterParseError(
            adapter_name=error.adapter_name,
            signature=signature,
            lm_response=self._clean(str(error.lm_response)),
        )
