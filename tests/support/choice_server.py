"""A real OpenAI-compatible HTTP server that answers `n` choices, in the ways that servers do.

with choice_server(lambda prompt, number: marked(answer=number % 2)) as server:
    dspy.LM("openai/small", api_base=server.address, api_key="none")
    dspy.LM("openai/small-one-choice", …)  # ignores n: TakesN lists the names
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from .choices import NAMES_N, Body, Shape, TakesN, reply
from .http_server import running
from .logprob_server import LogprobServer, prompt_of


class ChoiceServer(LogprobServer):
    """Answers by a function of the prompt and of how many choices it has given for it.

    The model's name says what it makes of `n`, as `TakesN` lists, and of `logprobs`.

    Attributes:
        say_next: returns the text of a choice, given the prompt and the choice's number: 0, 1, …
            for one model and prompt, over all requests.
        shape: whose replies these are.
        most: choices that a model named "limited-n" takes, and "fewer-choices" gives.
        says: what a refusal by a model named "n-refused" says.
        out_of_order: whether the last choice comes first in a reply.
        prompt_tokens: of any prompt, billed once a request.
        given: choices given so far, by model; a refusal gives none.
    """

    def __init__(self, say_next: Callable[[str, int], str]) -> None:
        super().__init__(lambda prompt: say_next(prompt, 0))
        self.say_next = say_next
        self.shape = Shape.OPENAI
        self.most = 2
        self.says = NAMES_N
        self.out_of_order = False
        self.prompt_tokens = 10
        self.given: Counter[str] = Counter()
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def sizes(self) -> list[int]:
        """Return the `n` of each request, in the order they came; 1 where it has none."""
        return [body.get("n") or 1 for body in self.bodies]

    def answer(self, body: Body) -> tuple[int, Body]:
        model, prompt, n = body["model"], prompt_of(body), body.get("n") or 1
        takes = TakesN.of(model)
        if (refusal := takes.refusal(n, self.most, self.says)) is not None:
            return refusal
        count = takes.count(n, self.most)
        with self._lock:
            first = self._numbers[model, prompt]
            self._numbers[model, prompt] += count
            self.given[model] += count
        step = 0 if takes is TakesN.SAME else 1
        texts = [self.say_next(prompt, first + step * at) for at in range(count)]
        return 200, reply(
            model,
            [self.choice(body, text) for text in texts],
            prompt_tokens=self.prompt_tokens,
            shape=self.shape,
            out_of_order=self.out_of_order,
        )


def choice_server(say_next: Callable[[str, int], str]) -> AbstractContextManager[ChoiceServer]:
    return running(ChoiceServer(say_next))
