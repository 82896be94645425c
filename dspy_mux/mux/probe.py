"""A draw that notes what a check of its member asks for."""

from __future__ import annotations

import time
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError

from ..adapters.fields import is_echo, with_required_answer
from ..adapters.guard import GuardedAdapter
from ..adapters.readings import Reading
from ..local import is_embedded
from ..sampling.draw import Draw


class Probe(Draw):
    """A draw that knows how long its calls took, how its replies were read, what came with them.

    Attributes:
        has_logprobs: whether a reply came with log-probabilities, once the draw has settled.
    """

    has_logprobs = False

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.has_logprobs = False
        self._read: tuple[Reading, ...] = ()
        self._stopwatch = _Stopwatch()

    def run(self) -> None:
        if is_embedded(self.member.lm):
            with self._calls.paused():  # no answer takes the seconds that loading does
                self.member.lm.engine.load()
        super().run()

    @property
    def call_seconds(self) -> float:
        """Seconds of the calls that were answered; failed ones, such as refusals, do not count."""
        return self._stopwatch.seconds

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens a second; None where the server bills none, or for no answer."""
        tokens, seconds = self.spent.completion_tokens, self.call_seconds
        return tokens / seconds if tokens and seconds else None

    @property
    def replied(self) -> bool:
        """Whether a reply came, of use or not."""
        return self._stopwatch.answered > 0

    @property
    def is_in_format(self) -> bool:
        """Whether a reply was read in its adapter's format, rather than searched for an answer."""
        return any(reading.fields is not None for reading in self._read)

    def misfit(self, field: str) -> str | None:
        """Return what stands for the answer in a reply of the adapter's format, as text.

        None where no reply kept to the format, or its answer has the answer's type.

        Args:
            field: the name of the answer's field.
        """
        if self.is_in_format or self.member.adapter is None:
            return None
        adapter = GuardedAdapter(self.member.adapter, self.member.lm, field)
        for reading in self._read:
            if reading.parse is None or field not in reading.signature.output_fields:
                continue
            as_text = with_required_answer(reading.signature, field, as_text=True)  # type: ignore[arg-type]
            try:
                value = str(adapter.parse(as_text, reading.text)[field]).strip()
            except AdapterParseError:
                continue
            if value and not is_echo(value, field):
                return value
        return None

    def _lm(self, rollout_id: int) -> dspy.BaseLM:
        lm = super()._lm(rollout_id)
        lm.callbacks.append(self._stopwatch)
        return lm

    def _weigh(self, prediction: dspy.Prediction | None) -> None:
        self._read, self.has_logprobs = tuple(self._readings), bool(self._calls.replies)
        super()._weigh(prediction)


class _Stopwatch(BaseCallback):
    """Adds up the seconds of the calls that are answered."""

    def __init__(self) -> None:
        self.seconds, self.answered = 0.0, 0
        self._began: dict[str, float] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stopwatch:
        return self  # a copy of the LM within the program belongs to the same draw

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._began[call_id] = time.perf_counter()

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        if exception is None and call_id in self._began:
            self.seconds += time.perf_counter() - self._began[call_id]
            self.answered += 1
