"""Say in a sentence what keeps a member from answering, and what to write in its pool file."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import (
    LMAuthError,
    LMRateLimitError,
    LMUnsupportedModelError,
)

from ..answers.reply import CUT_OFF
from ..keys import PLACEHOLDERS
from ..redact import masked, masked_address
from ..sampling.abstention import is_no_such_path
from ..sampling.blame import is_unreachable
from ..sampling.causes import REMEDIES
from ..sampling.members import Member
from ..sampling.ollama import is_ollama
from ..sampling.server_models import models_at, models_near
from ..sampling.usage import address_of
from ..text import shortened, visible
from .example_inputs import labels_of
from .member_check import FormatCheck, MemberCheck
from .member_entry import address_fault
from .probe import Probe

#: A first answer that takes more seconds is asked for once more: the server may have loaded.
SLOW_S = 3.0
#: How many times as long, and as slow, a first answer is that waited for the model to load.
_MUCH = 4.0
#: Models of a server that a sentence names.
_NAMED_MODELS = 8
#: Labels of an answer that a sentence names, and characters of one that is none of them.
_NAMED_LABELS, _LONGEST_ANSWER = 8, 60
#: A max_tokens that most replies to a short question fit into.
_ROOMY = 512
_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]*_API_KEY\b")


def problem_of(
    member: Member, draws: Sequence[Probe], formats: Sequence[FormatCheck], lacks: str
) -> str | None:
    """Return why none of a member's draws has an answer, and what to do about it.

    None where one has.

    Args:
        draws: by its own adapter.
        formats: how it did with that, then with the others that were compared.
        lacks: `no_such_answer` of the program's answer.
    """
    if formats[0].answered:
        return None
    causes = [draw.cause for draw in draws if draw.cause is not None]
    if CUT_OFF in causes:
        return f"was {_cut_off(member.lm, suited(formats))}"
    if remedied := next((cause for cause in causes if cause in REMEDIES), None):
        return f"gave no answer ({remedied}): {REMEDIES[remedied]}."
    if len(formats) > 1:
        return _format(formats)
    if formats[0].misfits:
        kept = f'kept to the format of adapter "{formats[0].adapter}", but answered'
        return (
            f"{kept} {_misfit(formats[0])}, {lacks}: ask another question (--question), or "
            "use another model."
        )
    cause = causes[0].rstrip(".") if causes else "no reason is known"
    if draws[0].replied:
        return f"replied, but without a usable answer: {cause}."
    if draws[0].error is None:
        return f"gave {cause}: its server hangs, or its answers take a longer timeout."
    # A server may list anything as its models.
    return masked(_failure(member.lm, draws[0].error, cause), member.lm)


def _failure(lm: dspy.BaseLM, error: BaseException, cause: str) -> str:
    """Return what a member's first call failed of."""
    address = address_of(lm)
    where = "its provider" if address is None else masked_address(str(address))
    if address is not None and (fault := address_fault(str(address))):
        return fault
    if address is not None and is_no_such_path(error):
        return _no_such_path(lm, str(address), cause)
    if isinstance(error, LMAuthError):
        return _no_key(lm, error)
    if isinstance(error, LMUnsupportedModelError):
        return _no_model(lm, address)
    if "LLM Provider NOT provided" in str(error):
        return (
            f"has the model string {lm.model!r}, which begins with no provider's name: write "
            f'model = "openai/{lm.model}" and api_base for a server of OpenAI\'s form.'
        )
    if _KEY_VARIABLE.search(str(error)) and not address:
        return _no_key(lm, error)
    if is_unreachable(error):
        if address is None:
            return "does not reach its provider: check the network."
        return f"reaches no server at {where}: start it, or correct api_base."
    if isinstance(error, LMRateLimitError):
        return f"is over the rate limit of {where}: check it again later."
    return f"gave no answer: {cause.rstrip('.')}."


def _no_key(lm: dspy.BaseLM, error: BaseException) -> str:
    key = str(lm.kwargs.get("api_key") or "")
    if key and key.lower() not in PLACEHOLDERS:
        return "has a key that its server refuses: check the variable that api_key_env names."
    # With an address of its own, a member takes no key from its provider's usual variable.
    named = None if address_of(lm) else _KEY_VARIABLE.search(str(error))
    usual = named.group() if named else f"{str(lm.model).partition('/')[0].upper()}_API_KEY"
    if not address_of(lm) and os.environ.get(usual):
        return f"has a key that its server refuses: check the variable {usual}."
    at_the_usual = f"set {usual}, or " if named else ""
    return (
        f'has no key, and its server asks for one: {at_the_usual}write api_key_env = "NAME", the '
        "name of the variable that holds it."
    )


def _no_such_path(lm: dspy.BaseLM, address: str, cause: str) -> str:
    """Say which address is meant by one at whose path the server has nothing."""
    found = models_near(address, _key_of(lm))
    if found is None:
        where = masked_address(address)
        return f"finds no API at {where} ({cause.rstrip('.')}): correct api_base."
    right, models = found
    name = str(lm.model).partition("/")[2]
    if is_ollama(lm) and name in models:  # which has its own API at any address
        return (
            f"reaches a server that is not Ollama: write model = {json.dumps(f'openai/{name}')} "
            f"and api_base = {_quoted(right)}."
        )
    if right == address.rstrip("/"):
        return _misses_v1(masked_address(address)) if name in models else _unlisted(lm, models)
    told = f"reaches its server, but not its API: write api_base = {_quoted(right)}"
    if name in models:
        return f"{told}."
    return f"{told}, and the name of a model that it has ({_some(models)})."


def _no_model(lm: dspy.BaseLM, address: object) -> str:
    models = models_at(str(address), _key_of(lm)) if address else []
    if str(lm.model).partition("/")[2] in models:
        return _misses_v1(masked_address(str(address)))
    return _unlisted(lm, models)


def _key_of(lm: dspy.BaseLM) -> str | None:
    key = lm.kwargs.get("api_key")
    return str(key) if key else None


def _quoted(address: str) -> str:
    return json.dumps(masked_address(address))


def _some(models: Sequence[str]) -> str:
    rest = len(models) - _NAMED_MODELS
    return ", ".join(models[:_NAMED_MODELS]) + (f" and {rest} more" if rest > 0 else "")


def _unlisted(lm: dspy.BaseLM, models: Sequence[str]) -> str:
    """Say that a server does not have a model.

    Args:
        models: those that it has; none where it does not say.
    """
    provider, _, name = str(lm.model).partition("/")
    told = f"names the model {name!r}, which its server does not have"
    if not models:
        return f"{told}: correct its model."
    near = difflib.get_close_matches(name, models, n=1, cutoff=0.0)[0]
    pull = f"run `ollama pull {name}`, or " if provider.startswith("ollama") else ""
    return (
        f"{told} (it has {_some(models)}): {pull}write model = {json.dumps(f'{provider}/{near}')}."
    )


def _misses_v1(address: str) -> str:
    if address.rstrip("/").endswith("/v1"):
        return f"is refused by {address} as unknown, although its server lists its model."
    right = json.dumps(f"{address.rstrip('/')}/v1")
    return f"reaches its server, but not its API: write api_base = {right}."


def no_such_answer(field: Any) -> str:
    """Return what is to be said of a value that an answer's field cannot have.

    >>> no_such_answer(dspy.Signature("text -> kind: Literal['bug', 'wish']").fields["kind"])
    'which is none of "bug", "wish"'
    """
    annotation = getattr(field, "annotation", field)
    if labels := labels_of(annotation):
        rest = len(labels) - _NAMED_LABELS
        named = ", ".join(f'"{label}"' for label in labels[:_NAMED_LABELS])
        return f"which is none of {named}" + (f" and {rest} more" if rest > 0 else "")
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return f"which is no {name.replace('typing.', '')}"


def _misfit(check: FormatCheck) -> str:
    """Return a value that is not of the answer's type, in quotes: foreign text."""
    return json.dumps(shortened(visible(check.misfits[0]), _LONGEST_ANSWER), ensure_ascii=False)


def _cut_off(lm: dspy.BaseLM, suits: str | None) -> str:
    """Say where replies were cut off, and what to write.

    Args:
        suits: an adapter with which the model did better; None for none.
    """
    or_else = f', or adapter = "{suits}", whose format it kept to.' if suits else "."
    most = lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens")
    if not isinstance(most, int):
        return f"cut off at its server's limit: write a larger max_tokens{or_else}"
    larger = max(2 * most, _ROOMY)
    return f"cut off at max_tokens = {most} before its answer: write max_tokens = {larger}{or_else}"


def findings_of(
    check: MemberCheck, member: Member, draws: Sequence[Probe], timed: Probe, lacks: str
) -> tuple[str, ...]:
    """Return what to change about a member that answers, or replies without an answer.

    Args:
        draws: by its own adapter.
        timed: that of them whose seconds are told.
        lacks: `no_such_answer` of the program's answer.
    """
    return tuple(_findings(check, member, draws, timed, lacks))


def _findings(
    check: MemberCheck, member: Member, draws: Sequence[Probe], timed: Probe, lacks: str
) -> Iterator[str]:
    if check.seconds is None:
        return
    own, misfits = check.formats[0].adapter, len(check.formats[0].misfits)
    cut_off = sum(draw.cause == CUT_OFF for draw in draws)
    if cut_off and check.problem is None:
        suits = None if check.suits == own else check.suits
        yield f"was in {cut_off} of {len(draws)} replies {_cut_off(member.lm, suits)}"
    elif check.problem is None and check.formats[0].followed < check.formats[0].draws:
        if misfits:
            yield (
                f"answered {_misfit(check.formats[0])} in {misfits} of {len(draws)} replies, "
                f"{lacks}; such a reply is an abstention."
            )
        if check.formats[0].followed + misfits < check.formats[0].draws:
            yield _format(check.formats)
    if member.logprobs is True and check.logprobs is False:
        yield "gives no log-probabilities, which logprobs = true asks for: leave that out."
    if member.group is True and check.several is False:
        yield "gives one answer a request, and group = true asks for several: leave that out."
    if _was_loading(draws[0], timed):
        yield (
            f"took {check.first_seconds:.1f} s for its first answer and {check.seconds:.1f} s for "
            "the next: if its server loaded the model for it, have it keep that (Ollama: "
            "OLLAMA_KEEP_ALIVE)."
        )


def _was_loading(first: Probe, timed: Probe) -> bool:
    """Return whether the first answer took long for another reason than its length."""
    if timed is first or first.call_seconds < _MUCH * timed.call_seconds:
        return False
    speeds = first.tokens_per_second, timed.tokens_per_second
    return None in speeds or _MUCH * (speeds[0] or 0.0) < (speeds[1] or 0.0)


def _format(formats: Sequence[FormatCheck]) -> str:
    """Say which format suits a member that did not keep to its own adapter's."""
    own = formats[0]
    replies = "1 reply" if own.draws == 1 else f"{own.draws} replies"
    kept_to = own.followed + len(own.misfits)
    kept = f'kept to the format of adapter "{own.adapter}" in {kept_to} of {replies}'
    if found := own.answered - own.followed:
        kept += f" ({found} had the answer elsewhere in the text)"
    if len(formats) == 1:
        return f"{kept}; a reply without an answer is an abstention."
    suits = suited(formats)
    if suits is None:
        return f"{kept}, and to that of no other: use another model, or a simpler program."
    return f'{kept}, and to that of "{suits}": write adapter = "{suits}".'


def suited(formats: Sequence[FormatCheck]) -> str | None:
    """Return the first adapter whose format all replies kept to; None for none."""
    return next((each.adapter for each in formats if each.followed == each.draws), None)
