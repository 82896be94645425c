"""Several questions to one mux, which is opened once: from a prompt, or one per line of a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import typer

from ..errors import DataError, MuxError
from .ask_answer import Answer, answer, cost_text, inputs_text
from .output import one_line, print_json, say

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux
    from .ask_inputs import InputFields


@dataclass
class Totals:
    """What a session's questions took, those without an answer left out."""

    questions: int = 0
    answers: list[Answer] = field(default_factory=list)

    def text(self) -> str:
        """Return the totals in a line."""
        verdicts = [each.verdict for each in self.answers]
        calls = sum(each.calls for each in verdicts)
        cached = sum(each.cached_calls for each in verdicts)
        tokens = sum(each.prompt_tokens + each.completion_tokens for each in verdicts)
        unpriced = sum(each.unpriced for each in self.answers)
        costs = [each.cost for each in verdicts if each.cost is not None]
        parts = [_count(self.questions, "question"), _count(calls, "LM call")]
        if cached:
            parts.append(f"{cached} from the cache")
        parts += [f"{tokens} tokens", cost_text(sum(costs) if costs else None, unpriced)]
        text = ", ".join(filter(None, parts)) + "."
        if without := self.questions - len(self.answers):
            text += f" {without} had no answer; what they took is not counted."
        return text


@dataclass(frozen=True)
class Session:
    """Questions to a mux, one after the other."""

    mux: SLMMux
    fields: InputFields
    as_json: bool

    def answer_one(self, inputs: Mapping[str, Any]) -> None:
        """Answer one question.

        Raises:
            MuxError: there is no answer.
            typer.Exit: with code 1, if the answer is kept back.
        """
        answered = answer(self.mux, inputs)
        answered.show(as_json=self.as_json)
        if answered.outputs is None:
            raise typer.Exit(1)

    def converse(self) -> None:
        """Ask what is typed at a prompt, until its end: Ctrl-D, or Ctrl-C at the prompt."""
        with suppress(ImportError):  # Windows has none: its console edits lines by itself
            import readline  # noqa: F401  (gives input() a history and keys to edit the line)
        # What is said beside the answers does not belong into a file of them.
        beside = sys.stdout if not self.as_json and sys.stdout.isatty() else sys.stderr
        names = ", ".join(member.label for member in self.mux.members)
        say(f"Ask {names}. Ctrl-C gives up an answer, Ctrl-D ends.", file=beside)
        totals = Totals()
        with suppress(EOFError, KeyboardInterrupt):
            while True:
                texts = {name: _typed(f"{name}> ") for name in self.fields.open}
                totals.questions += 1
                self._try(texts, totals)
                print(file=beside)
        print(file=beside)
        say(totals.text(), file=beside)

    def _try(self, texts: Mapping[str, str], totals: Totals) -> None:
        try:
            answered = answer(self.mux, self.fields.of_texts(texts))
            answered.show(as_json=self.as_json)
            sys.stdout.flush()
            totals.answers.append(answered)
        except MuxError as error:
            say(f"dspy-mux: {one_line(str(error))}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\ndspy-mux: given up.", file=sys.stderr)

    def answer_lines(self, lines: Iterable[str]) -> None:
        """Answer one question per line, as they come.

        Raises:
            MuxError: at the end, if a question had no answer.
        """
        failed = asked = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            asked += 1
            try:
                inputs = self.fields.of_line(line.strip())
                answered = answer(self.mux, inputs)
                if not self.as_json:
                    print(f"{'' if asked == 1 else chr(10)}> {inputs_text(inputs)}")
                answered.show(as_json=self.as_json)
                failed += answered.outputs is None
            except MuxError as error:
                failed += 1
                self._tell(number, error)
            sys.stdout.flush()  # who reads a pipe waits for it
        if failed:
            raise MuxError(f"{failed} of {asked} questions had no answer.")

    def _tell(self, number: int, error: MuxError) -> None:
        """Say why a line has no answer; with --json in its place among the answers, too."""
        message = one_line(str(error))
        if self.as_json:
            print_json({"line": number, "error": message})
        say(f"dspy-mux: line {number}: {message}", file=sys.stderr)


def read_lines(stream: TextIO | None) -> Iterator[str]:
    """Yield lines of text as they come; none where the process has no such stream.

    Raises:
        DataError: they are not UTF-8.
    """
    try:
        for line in stream or ():
            yield line.lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise not_text() from error


def not_text() -> DataError:
    return DataError("What comes on standard input is not UTF-8 text: encode it as UTF-8.")


def _typed(prompt: str) -> str:
    """Return a line that is not empty."""
    while True:
        try:
            if sys.stdout.isatty():
                text = input(prompt)
            else:
                print(prompt, end="", file=sys.stderr, flush=True)
                text = input()
        except UnicodeDecodeError:
            say("dspy-mux: that is not UTF-8 text.", file=sys.stderr)
            continue
        if text.strip():
            return text.strip()


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
