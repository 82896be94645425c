"""Options that several verbs share, and the typed groups that verbs gather them into.

Typer reads a verb's options from its parameters. A verb gathers them at once into one frozen
dataclass, built from the groups here: `BankOptions` chooses recorded draws, `SplitOptions` chooses
the questions that are reported.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from . import completion
from .counts import say_left_out
from .output import say

if TYPE_CHECKING:
    from ..bank.record import Record
    from ..bank.sample_bank import SampleBank
    from ..bank.selection import Described
    from ..bank.temperatures import Temperature
    from ..replay.splits import Split

#: Files with these endings are read as banks.
FILES = (".jsonl", ".jsonl.gz")
#: Sizes above this are cut off, because no pool has as many members.
_LARGEST = 10_000


def finite(value: float | None) -> float | None:
    """Return an option's number; reject nan and inf, which Python parses as numbers."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


BankPath = Annotated[
    str,
    typer.Argument(
        help="A bank: an SQLite file, a database URL, or a .jsonl or .jsonl.gz file.",
        autocompletion=completion.banks,
    ),
]
Members = Annotated[
    str | None, typer.Option(help="Members, comma-separated, in pool order. Default: all.")
]
Draws = Annotated[
    int | None, typer.Option("--k", help="Draws per member. Default: all that are recorded.")
]
RuleName = Annotated[
    str,
    typer.Option(
        help="consistency, pooled, probability, calibrated, self_consistency[:MEMBER], or all.",
        autocompletion=completion.rules,
    ),
]
Dataset = Annotated[str | None, typer.Option(help="A dataset, if the bank holds several.")]
Program = Annotated[
    str | None,
    typer.Option(help="Recorded programs: fingerprint prefixes, comma-separated, or 'latest'."),
]
AtTemperature = Annotated[
    str | None,
    typer.Option(
        "--temperature",
        help="Draws of this temperature, or 'each' for members such as small@0 and small@0.5.",
        autocompletion=completion.words("each"),
    ),
]
SplitField = Annotated[
    str | None, typer.Option(help="The questions' field that holds their split.")
]
Train = Annotated[
    str,
    typer.Option(
        "--train",
        help="Its value for the questions that measure and fit.",
        autocompletion=completion.splits,
    ),
]
Test = Annotated[
    str,
    typer.Option(
        "--test",
        help="Its value for the questions that are reported.",
        autocompletion=completion.splits,
    ),
]
Holdout = Annotated[
    float, typer.Option(help="Without a recorded split: the share of questions reported.")
]
Repeats = Annotated[int, typer.Option(help="Number of random splits.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Seed of the splits and the choice of draws.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        help="Scores from this value on count as correct. Default: 1; scores outside 0 to 1 need "
        "one.",
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        help="A field of the questions that the calibrated rule weighs by; auto: their text.",
        autocompletion=completion.words("auto"),
    ),
]
Penalty = Annotated[float, typer.Option(callback=finite, help="λ, the weight of contradiction.")]
MaxDraws = Annotated[
    int | None,
    typer.Option("--k-max", min=1, help="Most draws per member. Default: all that are recorded."),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds until a draw abstains. Default: the pool file's."),
]
AcceptLicense = Annotated[
    bool, typer.Option("--accept-license", help="Accept the models' licences.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
]


@dataclass(frozen=True)
class BankOptions:
    """Which recorded draws to read.

    Attributes:
        bank: an SQLite file, a database URL, or a file of rows.
        dataset, program: as in `SampleBank.record`.
        members: comma-separated names; None for all.
        temperature: a number or "each"; needed where a member has draws of several.
    """

    bank: str
    dataset: str | None = None
    program: str | None = None
    members: str | None = None
    temperature: str | None = None

    def record(
        self, k: int | None, *, scored: bool = True, at_most: int | None = None
    ) -> tuple[Record, int]:
        """Return the chosen draws, and how many questions have too few of them.

        Prints a line on stderr if errors cost draws, and one if questions are left out.

        Args:
            scored, at_most: as in `Record.of`.
        """
        record, report = self._read()
        members = None if self.members is None else parse_names(self.members)
        chosen, left_out = record.of(members, k, scored=scored, at_most=at_most)
        report(chosen.members)
        say_left_out(record, members, k, at_most)
        return chosen, left_out

    def whole(self, large: str | None) -> tuple[Record, list[str]]:
        """Return all recorded draws, and the names of the pool's members.

        Prints a line on stderr if errors cost draws.

        Args:
            large: a member that is not in the pool, whoever is chosen; None for none.
        """
        record, report = self._read()
        names = record.members if self.members is None else parse_names(self.members)
        pool = [name for name in names if self.members is not None or name != large]
        report([*pool, *([] if large is None else [large])])
        return record, pool

    def without(self, large: str | None) -> BankOptions:
        """Return the choice of the same draws, but for those of a member outside the pool.

        Raises:
            ConfigurationError: that member is not recorded, or is named in the pool too.
        """
        if large is None:
            return self
        known = self._temperatures()
        names = list(known) if self.members is None else parse_names(self.members)
        if large not in known:
            raise ConfigurationError(
                f"{self.bank} has no member {large!r}; it has {', '.join(known)}."
            )
        if large in names and self.members is not None:
            raise ConfigurationError(
                f"{large!r} stands for the large model, so it cannot be in the pool too: leave it "
                "out of the members."
            )
        return replace(self, members=",".join(name for name in names if name != large))

    def one(self, member: str) -> Record:
        """Return a member's draws, as many of each question as all have.

        They are of its only recorded temperature, else of the one chosen.
        """
        return self._only(member).record(None, at_most=1)[0]

    def _only(self, member: str) -> BankOptions:
        of = self._temperatures()[member]
        temperature = self.temperature
        if len(of) == 1:
            temperature = None if of[0] is None else f"{of[0]!r}"
        return replace(self, members=member, temperature=temperature)

    def _temperatures(self) -> dict[str, list[float | None]]:
        from ..bank.jsonl import jsonl_temperatures
        from ..bank.sample_bank import SampleBank

        if self.bank.endswith(FILES):
            return jsonl_temperatures(self.bank, dataset=self.dataset)
        return SampleBank(self.bank).temperatures(dataset=self.dataset)

    def _read(self) -> tuple[Record, Callable[[Sequence[str]], None]]:
        """Return all recorded draws, and what reports the draws of some members that were lost."""
        from ..bank.jsonl import read_jsonl
        from ..bank.sample_bank import SampleBank

        temperature = None if self.temperature is None else parse_temperature(self.temperature)
        if self.bank.endswith(FILES):
            record = read_jsonl(self.bank, dataset=self.dataset, temperature=temperature)
            return record, lambda members: None
        bank = SampleBank(self.bank)
        record = bank.record(dataset=self.dataset, program=self.program, temperature=temperature)
        return record, lambda members: self._report_errors(bank, members, temperature)

    def with_greedy(self, at_most: int | None = None) -> tuple[Record, Record | None, int]:
        """Return the chosen draws, greedy ones beside them, and how many questions are left out.

        There are greedy ones where no temperature is chosen, and all members have draws of
        temperature 0 and of the same one other.

        Args:
            at_most: as in `Record.of`.
        """
        from ..optimize.plan import paired

        other = self._beside_greedy()
        if other is None:
            record, left_out = self.record(None, at_most=at_most)
            return record, None, left_out
        greedy, _ = replace(self, temperature="0").record(1)
        sampled, few = replace(self, temperature=other).record(None, at_most=at_most)
        sampled, greedy, alone = paired(sampled, greedy)
        return sampled, greedy, few + alone

    def _beside_greedy(self) -> str | None:
        """Return the temperature of the draws that greedy ones stand beside; None without such."""
        known = self._temperatures() if self.temperature is None else {}
        names = known if self.members is None else parse_names(self.members)
        found = {tuple(known.get(name, ())) for name in names}
        several = next(iter(found)) if len(found) == 1 else ()
        both = len(several) == 2 and several[0] == 0.0 and several[1] is not None
        return f"{several[1]!r}" if both else None

    def programs(self, members: Sequence[str], *, greedy: bool = False) -> dict[str, Described]:
        """Return member → the program of the draws that `with_greedy` reads; unknown of a file.

        Args:
            greedy: of the greedy draws, not the others.
        """
        from ..bank.sample_bank import SampleBank
        from ..bank.selection import Described

        if self.bank.endswith(FILES):
            return {name: Described("", {}) for name in members}
        text = "0" if greedy else self._beside_greedy() or self.temperature
        found = SampleBank(self.bank).programs(
            dataset=self.dataset,
            program=self.program,
            temperature=None if text is None else parse_temperature(text),
        )
        return {name: found[name] for name in members}

    def programs_of(self, member: str) -> dict[str, Described]:
        """Return member → its program, of the draws that `one` reads."""
        return self._only(member).programs([member])

    def _report_errors(
        self, bank: SampleBank, members: Sequence[str], temperature: Temperature | None
    ) -> None:
        from ..answers.reply import CUT_OFF
        from ..bank.temperatures import at
        from ..sampling.causes import advice

        rows = [
            row
            for row in bank.info()
            if self.dataset in (None, row["dataset"])
            and temperature in (None, "each", row["temperature"])
            and (
                at(row["member"], row["temperature"] if temperature == "each" else None) in members
            )
        ]
        if failed := sum(row["errors"] for row in rows):
            draws = sum(row["draws"] for row in rows)
            say(
                f"dspy-mux: errors cost {failed} of {draws} draws, which count as abstentions "
                "here: run `dspy-mux collect … --retry-failed` to redraw them.",
                file=sys.stderr,
            )
        for sentence in advice({CUT_OFF: sum(row["cut_off"] for row in rows)}):
            say(f"dspy-mux: {sentence}", file=sys.stderr)


@dataclass(frozen=True)
class SplitOptions:
    """Which questions measure and fit, and which are reported.

    Attributes:
        field: the questions' field that holds their split; None if none is recorded.
        train, test: its values.
        seed: of random splits.
    """

    field: str | None = None
    train: str = "train"
    test: str = "test"
    seed: int = 0

    def recorded(self, record: Record) -> list[Split] | None:
        """Return the recorded split; None without a split field."""
        from ..replay.splits import by_field

        return None if self.field is None else by_field(record, self.field, self.train, self.test)

    def recorded_or_random(self, record: Record, holdout: float, repeats: int) -> Sequence[Split]:
        """Return the recorded split, or random ones that report a share of the questions."""
        from ..replay import splits

        recorded = self.recorded(record)
        if recorded is not None:
            return recorded
        count = len(record.questions)
        return splits.holdout(count, fraction=holdout, repeats=repeats, seed=self.seed)


def say_context(context: str | None, record: Record) -> None:
    """Say on stderr which field `--context auto` reads: a bank does not record what was an input.

    Raises:
        ConfigurationError: there is none.
    """
    from ..voting.nearby import AUTO, context_field

    if context == AUTO:
        field, _ = context_field(context, record.fields)
        say(f"dspy-mux: --context auto reads the questions' field {field!r}.", file=sys.stderr)


def parse_names(text: str) -> list[str]:
    """Parse comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_temperature(text: str) -> Temperature:
    """Parse a temperature, or "each"."""
    if text == "each":
        return "each"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--temperature must be a number such as 0.5, or 'each', not {text!r}."
        ) from error


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"{option} must be numbers like 0.05,0.1, not {text!r}."
        ) from error


def parse_sizes(text: str) -> list[int]:
    """Parse sizes such as 3, 2-5 or 2,4."""
    try:
        sizes: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            sizes.update(range(int(first), min(int(last or first), _LARGEST) + 1))
    except ValueError as error:
        raise ConfigurationError(f"--sizes must be like 3, 2-5 or 2,4, not {text!r}.") from error
    return sorted(sizes)
