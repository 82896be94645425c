"""Ask each member of a pool a question or two, to see what it can do and how fast it is."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import dspy

from ..adapters.formats import ADAPTERS, adapter_name, default_adapter
from ..answers.equivalence import NO_ANSWER
from ..answers.reply import CUT_OFF, ONLY_THINKING
from ..local import is_embedded
from ..sampling.causes import REMEDIES
from ..sampling.draw import Draw
from ..sampling.group_limits import server_limits
from ..sampling.grouped_call import may_group
from ..sampling.members import Member, Pool, check_members, members_of
from ..sampling.run import sample
from ..sampling.usage import server_of
from .check_findings import SLOW_S, findings_of, no_such_answer, problem_of, suited
from .example_inputs import example_inputs
from .member_check import FormatCheck, MemberCheck
from .outcome import total_spent
from .probe import Probe
from .program import answer_field_of, as_module
from .slm_mux import SLMMux

#: Adapters that are compared where a member does not keep to its own one's format, best first.
_OTHERS = ("plain", "json_schema", "json", "chat")
#: Causes of replies that say nothing of a format.
_TOO_SHORT = (CUT_OFF, ONLY_THINKING)
#: Tokens of a cut-off reply up to which other formats are compared: each may cost as many.
_RAMBLING = 1024
#: Seconds between two attempts double; a check wants to know soon.
_RETRIES = 1


#: Yields draws to make at once, continues when they have settled, and returns what was found.
Steps: TypeAlias = Generator[Sequence[Probe], None, MemberCheck]


def check_pool(
    lms: Pool,
    program: str | type[dspy.Signature] | dspy.Module = "question -> answer",
    *,
    question: str | Mapping[str, Any] | None = None,
    temperature: float = 0.3,
    adapter: dspy.Adapter | None = None,
    escalate: Member | None = None,
    timeout: float = 60.0,
    on_checked: Callable[[MemberCheck], object] = lambda check: None,
) -> list[MemberCheck]:
    """Ask each member once or a few times; return what it can do, in pool order.

    No reply comes from DSPy's cache. A member that does what its settings say gets three calls in
    two requests; one that does not keep to its adapter's format is asked with other adapters too.
    Members are asked at the same time, but embedded ones one after the other: they share the cores.

    Args:
        lms: the pool, as `SLMMux` takes it.
        program: what they are asked by, as `SLMMux` takes it.
        question: the program's only input, or several by name; by default one is made up.
        temperature, adapter: of members that have none of their own.
        escalate: the model that the pool escalates to, which answers once.
        timeout: seconds that one answer may take.
        on_checked: called with each member's result as it comes.

    Raises:
        ConfigurationError: the pool or the program cannot be one of a mux, or the question does not
            fit the program.

    >>> lms = {"small": dspy.utils.DummyLM([{"reasoning": "Known.", "answer": "Paris"}] * 3)}
    >>> [check] = check_pool(lms)
    >>> check.answer, check.formats[0].followed, check.suits
    ('Paris', 1, 'chat')
    """
    module = as_module(program)
    inputs = example_inputs(module, question)
    members = [
        member.filled(k=1, temperature=temperature, adapter=adapter) for member in members_of(lms)
    ]
    check_members([dataclasses.replace(member, k=1) for member in members])
    checks = [_Check(module, member, inputs) for member in members]
    if escalate is not None:
        large = escalate.filled(k=1, temperature=0.0, adapter=None)
        checks.append(_Check(module, large, inputs, escalates=True))
    return _run(checks, timeout, on_checked)


class _Check:
    """The check of one member.

    Args:
        escalates: whether it is asked once alone, as the model that is escalated to.
    """

    def __init__(
        self,
        program: dspy.Module,
        member: Member,
        inputs: Mapping[str, Any],
        *,
        escalates: bool = False,
    ):
        self.member, self._program, self._inputs = member, program, inputs
        self._escalates = escalates
        self._field = answer_field_of(program, None)
        self._own = member.adapter or dspy.settings.adapter or default_adapter()
        self._made: list[Probe] = []
        self._answers: dict[Probe, object] = {}

    @property
    def is_embedded(self) -> bool:
        return is_embedded(self.member.lm)

    def steps(self) -> Steps:
        """Ask, and say what was found."""
        (first,) = yield from self._ask(self._own, logprobs=True)
        timed, own, several = first, [first], None
        if first.replied and not self._escalates and first.cause not in _TOO_SHORT:
            if first.call_seconds > SLOW_S and not self.is_embedded:
                (timed,) = yield from self._ask(self._own, logprobs=first.has_logprobs)
                own.append(timed)
                timed = timed if timed.replied else first
            several = yield from self._ask_several(own)
        formats = [self._format(self._own, own)]
        # One reply by another adapter says little against one that works most of the time.
        in_format = formats[0].followed + len(formats[0].misfits)
        if self._may_be_the_format(own) and 2 * in_format <= len(own):
            formats += yield from self._ask_otherwise()
        return self._found(first, timed, own, formats, several)

    def _may_be_the_format(self, own: Sequence[Probe]) -> bool:
        """Return whether another format may help, given the replies by the member's own.

        Small models that cannot keep to a format often go on until they are cut off.
        """
        first = own[0]
        if first.cause == CUT_OFF:
            return first.spent.completion_tokens <= _RAMBLING
        return first.replied and first.cause not in REMEDIES

    def _ask_several(self, own: list[Probe]) -> Generator[Sequence[Probe], None, bool | None]:
        """Ask for two answers in one request; return whether they came so.

        Args:
            own: draws by the member's own adapter, to which these are added.
        """
        lm, server = self.member.lm, server_of(self.member.lm)
        if self.is_embedded:
            return True  # draws at once share the prompt there
        server_limits.relearn(server)
        shares = "auto" if self.member.group is None else self.member.group
        if not may_group(lm, shares):
            # Where it could be asked to, its server is one that is known to give one.
            return False if shares == "auto" and may_group(lm, True) else None
        pair = yield from self._ask(self._own, count=2)
        own += pair
        if not all(draw.replied for draw in pair):
            return None
        return server_limits.most(server) != 1 and any(draw.spent.shared_calls for draw in pair)

    def _ask_otherwise(self) -> Generator[Sequence[Probe], None, list[FormatCheck]]:
        """Ask by each of the other adapters, one after the other."""
        formats = []
        for name in _OTHERS:
            if name != adapter_name(self._own):
                adapter = ADAPTERS[name]()
                formats.append(self._format(adapter, (yield from self._ask(adapter))))
        return formats

    def _ask(
        self, adapter: dspy.Adapter, *, logprobs: bool = False, count: int = 1
    ) -> Generator[Sequence[Probe], None, list[Probe]]:
        """Ask so often at once, in one request where the server takes that."""
        lm = self.member.lm.copy(cache=False)
        lm.num_retries = min(getattr(lm, "num_retries", 0) or 0, _RETRIES)
        temperature = self.member.temperature or (0.7 if count > 1 else 0.0)
        asked = dataclasses.replace(
            self.member,
            lm=lm,
            adapter=adapter,
            k=1,
            temperature=temperature,
            logprobs=logprobs,
            group=True,
        )
        mux = SLMMux(self._program, [asked], k=1, on_error="abstain")
        numbers = range(len(self._made), len(self._made) + count)
        draws = mux.draws(0, numbers, self._inputs, Probe)
        self._made += draws
        yield draws
        self._answers.update((draw, mux.answer_of(draw)) for draw in draws)
        return draws

    def _format(self, adapter: dspy.Adapter, draws: Sequence[Probe]) -> FormatCheck:
        answered = [draw for draw in draws if self._answers[draw] is not NO_ANSWER]
        followed = sum(draw.is_in_format for draw in answered)
        name, misfits = adapter_name(adapter) or "", []
        for draw in draws:
            if draw not in answered and (value := draw.misfit(self._field[0])) is not None:
                misfits.append(value)
        return FormatCheck(name, len(draws), followed, len(answered), tuple(misfits))

    def _found(
        self,
        first: Probe,
        timed: Probe,
        own: Sequence[Probe],
        formats: Sequence[FormatCheck],
        several: bool | None,
    ) -> MemberCheck:
        answers = [self._answers[draw] for draw in own]
        answer = next((str(one) for one in answers if one is not NO_ANSWER), None)
        replied, lacks = first.replied, no_such_answer(self._field[1])
        check = MemberCheck(
            self.member.label,
            str(self.member.lm.model),
            escalates=self._escalates,
            answer=answer,
            seconds=timed.call_seconds if replied else None,
            first_seconds=first.call_seconds if replied else None,
            tokens_per_second=timed.tokens_per_second if replied else None,
            formats=tuple(formats),
            suits=suited(formats),
            logprobs=any(draw.has_logprobs for draw in own) if replied else None,
            several=several,
            spent=total_spent(self._made),
            problem=problem_of(self.member, own, formats, lacks),
        )
        findings = findings_of(check, self.member, own, timed, lacks)
        return dataclasses.replace(check, findings=findings)


def _run(
    checks: Sequence[_Check], timeout: float, on_checked: Callable[[MemberCheck], object]
) -> list[MemberCheck]:
    """Run all checks side by side; return what they found, in their order."""
    waiting: deque[Probe] = deque()
    steps_of: dict[Draw, tuple[int, Steps]] = {}
    under_way: dict[int, set[Draw]] = {}
    found: dict[int, MemberCheck] = {}
    embedded = deque(at for at, check in enumerate(checks) if check.is_embedded)

    def go_on(at: int, steps: Steps) -> None:
        """Have a check say what it asks next, or what it has found."""
        try:
            draws = next(steps)
        except StopIteration as end:
            found[at] = end.value
            on_checked(end.value)
            if checks[at].is_embedded:
                begin_embedded()
            return
        under_way[at] = set(draws)
        steps_of.update(dict.fromkeys(draws, (at, steps)))
        waiting.extend(draws)

    def begin_embedded() -> None:
        if embedded:
            at = embedded.popleft()
            go_on(at, checks[at].steps())

    def draws() -> Iterator[Probe | None]:
        while waiting or len(found) < len(checks):
            yield waiting.popleft() if waiting else None

    for at, check in enumerate(checks):
        if not check.is_embedded:
            go_on(at, check.steps())
    begin_embedded()
    with closing(sample(draws(), timeout=timeout)) as settled:
        for draw in settled:
            at, steps = steps_of[draw]
            under_way[at].discard(draw)
            if not under_way[at]:
                go_on(at, steps)
    return [found[at] for at in range(len(checks))]
