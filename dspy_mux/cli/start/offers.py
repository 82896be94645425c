"""The models that `dspy-mux init` offers: those of servers, and those that run in this process."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ...errors import ConfigurationError
from .kinds import ANY, OLLAMA, Model, size_text

if TYPE_CHECKING:
    from ...mux.member_entry import MemberEntry
    from .servers import Server

#: Models that are proposed where the user says nothing: of servers, and at least.
_MOST_PROPOSED, _FEWEST = 3, 2
_RANGE = re.compile(r"(\d{1,6})\s*-\s*(\d{1,6})")


@dataclass(frozen=True)
class Offer:
    """A model to choose.

    Attributes:
        place: where it runs, for people.
        about: its size and the like, for people.
        entry: its table in a pool file.
        ready: it needs no download and no consent, and nobody else's machine.
        consent: whether its terms must be accepted before it is fetched.
        base: it continues text, and was not tuned to follow instructions.
    """

    place: str
    about: str
    entry: MemberEntry
    ready: bool = True
    consent: bool = False
    base: bool = False

    @property
    def name(self) -> str:
        """The name of the member."""
        return str(self.entry.name or self.entry.local)


@dataclass(frozen=True)
class Found:
    """What there is to choose, and what is left out, with the reason."""

    offers: list[Offer]
    left_out: list[str]


def found_models(servers: Sequence[Server]) -> Found:
    """Return the models of servers and, where llama.cpp is installed, of this process."""
    offers: list[Offer] = []
    left_out = []
    for server in servers:
        for model in server.models:
            if model.not_for:
                left_out.append(f"{model.id} ({model.not_for})")
                continue
            offer = _of_server(server, model, {offer.name for offer in offers})
            if offer is None:
                left_out.append(f"{model.id} (a pool file cannot hold its name)")
            else:
                offers.append(offer)
    return Found([*offers, *_embedded()], left_out)


def _of_server(server: Server, model: Model, taken: set[str]) -> Offer | None:
    from ...mux.member_entry import MemberEntry

    version = f" {server.version}" if server.version else ""
    kind = "A server" if server.kind == ANY else server.kind
    protocol = "ollama_chat" if server.kind == OLLAMA else "openai"
    try:
        entry = MemberEntry(
            name=_free(_member_name(model.id), server, taken),
            model=f"{protocol}/{model.id}",
            api_base=server.place.address,
            api_key_env=server.place.api_key_env,
        )
    except ValidationError:
        return None
    place = f"{kind}{version} at {server.place.address.removesuffix('/v1')}"
    return Offer(place, model.about, entry, ready=not model.elsewhere)


def _member_name(model: str) -> str:
    """Return a short name: of a file without its folders and ending, else the model's."""
    is_file = model.endswith(".gguf") or model.startswith(("/", "./", "~"))
    return re.split(r"[/\\]", model)[-1].removesuffix(".gguf") if is_file else model


def _free(name: str, server: Server, taken: set[str]) -> str:
    """Return a name that no other member has."""
    kind = server.kind.split(" ")[0].lower()
    names = [name, f"{name}-{kind}", *(f"{name}-{kind}-{n}" for n in range(2, len(taken) + 3))]
    return next(each for each in names if each not in taken)


def _embedded() -> Iterator[Offer]:
    from ...local import CATALOG, path
    from ...mux.member_entry import MemberEntry

    if importlib.util.find_spec("xllamacpp") is None:
        return
    # The strongest first: where members are equally sure, the first of them wins.
    for weights in sorted(CATALOG.values(), key=lambda each: (not each.chat, -each.parameters)):
        here = path(weights.name) is not None
        size = size_text(weights.size)
        terms = f", under the {weights.licence}" if weights.needs_consent and not here else ""
        where = f"{size}, on this machine" if here else f"{size} to fetch{terms}"
        yield Offer(
            "This process, on llama.cpp",
            where if weights.chat else f"{where}; a base model",
            MemberEntry(local=weights.name),
            ready=here,
            consent=weights.needs_consent and not here,
            base=not weights.chat,
        )


def proposed(offers: Sequence[Offer]) -> list[int]:
    """Return the offers, by index, that are taken where the user says nothing.

    They are the first models of servers. Where there are fewer than two, those of this process
    that have been fetched fill the place, the strongest first; only if need be a base model, and
    then others whose terms need no consent.
    """
    servers = [at for at, offer in enumerate(offers) if offer.entry.model and offer.ready]
    if len(servers) >= _FEWEST:
        return servers[:_MOST_PROPOSED]
    own = [at for at, offer in enumerate(offers) if offer.entry.local and not offer.consent]
    fetched = [at for at in own if offers[at].ready]
    here = [at for at in fetched if not offers[at].base][: _MOST_PROPOSED - len(servers)]
    lacking = max(0, _FEWEST - len(servers) - len(here))
    here += [at for at in fetched if offers[at].base][:lacking]
    to_fetch = [at for at in own if not offers[at].ready]
    fewest = max(0, _FEWEST - len(servers) - len(here))
    smallest = to_fetch[len(to_fetch) - fewest :] if fewest else []
    return servers + sorted(here + smallest)


def chosen_offers(text: str, offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers that a text names, in its order: numbers, ranges, names, or all.

    Raises:
        ConfigurationError: it names none, only one, or one that there is not.
    """
    picked: dict[int, None] = {}
    spaced = _RANGE.sub(r"\1-\2", text)
    for word in filter(None, re.split(r"[,\s]+", spaced)):
        picked.update(dict.fromkeys(_indexes(word, offers)))
    if not picked:
        raise ConfigurationError("No model is named: name two or more.")
    if len(picked) == 1:
        name = offers[next(iter(picked))].name
        raise ConfigurationError(f"{name} is one model, and a mux chooses between several.")
    return _apart([offers[at] for at in picked])


def _indexes(word: str, offers: Sequence[Offer]) -> Sequence[int]:
    names = [offer.name for offer in offers]
    for name in (word, f"{word}:latest"):
        if name in names:
            return [names.index(name)]
    if word.lower() == "all":
        return range(len(offers))
    first = last = word
    if span := _RANGE.fullmatch(word):
        first, last = span.groups()
    if not (first.isdecimal() and last.isdecimal()):
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {some(names)}."
        raise ConfigurationError(f"There is no model {word!r} to choose: {hint}")
    if not 1 <= int(first) <= int(last) <= len(offers):
        raise ConfigurationError(f"{word} is not among the numbers 1 to {len(offers)}.")
    return range(int(first) - 1, int(last))


def some(names: Sequence[str]) -> str:
    """Return the first of many names, for a sentence."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _apart(offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers, with those of one model string kept out of DSPy's cache.

    Its key holds the model string and not the server, so one would be answered from the other's.
    """
    models = [offer.entry.model for offer in offers]
    return [
        replace(offer, entry=offer.entry.model_copy(update={"options": {"cache": False}}))
        if offer.entry.model and models.count(offer.entry.model) > 1
        else offer
        for offer in offers
    ]


def as_numbers(indexes: Sequence[int]) -> str:
    """Return indexes as the numbers a user would type.

    >>> as_numbers([0, 1, 2, 5])
    '1-3,6'
    """
    runs: list[list[int]] = []
    for at in indexes:
        if runs and runs[-1][1] == at - 1:
            runs[-1][1] = at
        else:
            runs.append([at, at])
    return ",".join(f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs)


def listing(found: Found, width: int) -> Iterator[tuple[str, bool]]:
    """Yield the lines that list the models, numbered, and whether each is a heading."""
    longest = min(max((len(offer.name) for offer in found.offers), default=0), 36)
    place = None
    for number, offer in enumerate(found.offers, 1):
        if offer.place != place:
            place = offer.place
            yield place, True
        line = f"  {number:>3}  {offer.name:<{longest}}"
        if len(line) + 2 + len(offer.about) <= width:
            yield f"{line}  {offer.about}".rstrip(), False
        else:
            yield line.rstrip(), False
            yield f"       {offer.about}", False
