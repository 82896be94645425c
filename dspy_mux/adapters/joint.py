"""Guard a reply of which several fields are the answer: each is read by its own kind."""

from __future__ import annotations

from collections.abc import Mapping

import dspy

from ..answers.equivalence import AnswerKind
from .fields import is_decision, with_required_answer
from .guard import GuardedAdapter
from .wrap import Fields


class JointGuard(GuardedAdapter):
    """The adapter that talks to a member's model, guarded, where the answer has several fields.

    A reply that is out of format is not searched for them: it does not say which is which.

    Args:
        inner: that adapter.
        lm: the member's LM, whose keys are masked.
        kinds: output field → how it is read.
    """

    def __init__(self, inner: dspy.Adapter, lm: dspy.BaseLM, kinds: Mapping[str, AnswerKind]):
        super().__init__(inner, lm)
        self._kinds, self._answer_fields = dict(kinds), set(kinds)
        self._guards = {
            field: GuardedAdapter(inner, lm, field, kind) for field, kind in kinds.items()
        }

    def _is_whole(self, signature: type[dspy.Signature], text: str) -> bool:
        return all(guard._is_whole(signature, text) for guard in self._guards.values())

    def _fields(self, signature: type[dspy.Signature], text: str) -> Fields:
        asked = [field for field in self._guards if field in signature.output_fields]
        if not asked or not isinstance(self.inner, dspy.ChatAdapter):
            return super()._fields(signature, text)
        own: Fields = {}
        for field in asked:
            shown = signature
            for other in asked:
                if other == field or is_decision(signature, other):
                    continue
                if self._kinds[other].reads_fields:
                    # Read by its own kind in its turn; here it must only be there.
                    shown = with_required_answer(shown, other, as_text=True)  # type: ignore[arg-type]
            fields = self._guards[field]._fields(shown, text)
            own[field] = fields[field]
        return {**fields, **own}
