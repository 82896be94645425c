"""The verbs that work on recorded draws: `python -m eval rules`, `budget`, `risk`, `fallbacks`,
`evidence`, `search` and `scale`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspy_mux.cli.options import (
    AsJson,
    AtTemperature,
    Members,
    Program,
    Seed,
    SplitField,
    Test,
    Threshold,
    Train,
    parse_numbers,
    parse_sizes,
)

from .options import (
    AcceptLicense,
    Banks,
    Datasets,
    Halves,
    Halvings,
    Markdown,
    Penalty,
    PoolsOf,
    PublicBanks,
    RuleDraws,
    SplitSeed,
    parse_counts,
)


def rules(
    data: PublicBanks,
    k: RuleDraws = 3,
    repeats: Halves = 20,
    seed: SplitSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Score every rule on public banks of real recorded outputs, without a call."""
    from .paper.rules import run

    run(data=data, k=k, repeats=repeats, seed=seed, as_json=as_json)


def budget(
    data: PublicBanks,
    bounds: Annotated[
        str,
        typer.Option(
            help="Bounds on the share of early answers that differ from those of all draws."
        ),
    ] = "0.05,0.1,0.15",
    k: RuleDraws = 3,
    repeats: Halves = 5,
    seed: SplitSeed = 0,
    as_json: AsJson = False,
    markdown: Markdown = False,
) -> None:
    """Show the calls that frugal schedules and early stopping save on public banks."""
    from .paper.budget import BudgetTable, run

    run(
        BudgetTable(
            data=data,
            bounds=parse_numbers(bounds, "--bounds"),
            k=k,
            repeats=repeats,
            seed=seed,
            as_json=as_json,
            as_markdown=markdown,
        )
    )


def risk(  # noqa: PLR0913  Typer reads the options from the parameters
    data: PublicBanks,
    risks: Annotated[
        str, typer.Option(help="Shares of wrong answers that are promised at most.")
    ] = "0.05,0.1,0.2",
    confidence: Annotated[float, typer.Option(help="Probability that a promise is kept.")] = 0.9,
    k: RuleDraws = 3,
    repeats: Halves = 20,
    seed: SplitSeed = 0,
    as_json: AsJson = False,
    markdown: Markdown = False,
    svg: Annotated[
        Path | None,
        typer.Option(help="Also write the picture of GSM8K's escalation to this SVG file."),
    ] = None,
) -> None:
    """Show coverage at a stated risk on public banks, and what a large model's calls are worth."""
    from .paper.risk import RiskTable, run

    run(
        RiskTable(
            data=data,
            risks=parse_numbers(risks, "--risks"),
            confidence=confidence,
            k=k,
            repeats=repeats,
            seed=seed,
            as_json=as_json,
            as_markdown=markdown,
            svg=svg,
        )
    )


def fallbacks(
    data: PublicBanks,
    labels: Annotated[
        str, typer.Option(help="Questions that the rule is fitted on.")
    ] = "10,15,30,60,100",
    k: Annotated[str, typer.Option("--k", help="Draws per member.")] = "1,2,3,5",
    repeats: Annotated[int, typer.Option(min=1, help="Random choices for each pool.")] = 6,
    votes_only: Annotated[
        bool, typer.Option("--votes-only", help="Leave the banks with log-probabilities out.")
    ] = False,
    seed: SplitSeed = 0,
    as_json: AsJson = False,
    markdown: Markdown = False,
) -> None:
    """Show the calibrated rule with few labels against the best simple rule in hindsight."""
    from .paper.fallbacks import FallbackTable, run

    run(
        FallbackTable(
            data=data,
            labels=parse_counts(labels, "--labels"),
            k=parse_counts(k, "--k"),
            repeats=repeats,
            seed=seed,
            votes_only=votes_only,
            as_json=as_json,
            as_markdown=markdown,
        )
    )


def evidence(  # noqa: PLR0913  Typer reads the options from the parameters
    banks: Annotated[
        list[str],
        typer.Argument(
            metavar="BANK...",
            help="Banks of greedy and sampled draws with log-probabilities: SQLite files, database "
            "URLs or .jsonl[.gz] files; BANK@DATASET is one dataset of several.",
        ),
    ],
    labels: Annotated[
        str, typer.Option(help="Questions that rules are fitted on.")
    ] = "30,60,120,256",
    k: Annotated[str, typer.Option("--k", help="Sampled draws per member.")] = "1,3,8",
    repeats: Annotated[
        int, typer.Option(min=1, help="Random splits for each number of labels.")
    ] = 20,
    split_field: SplitField = None,
    train: Train = "validation",
    test: Test = "test",
    seed: SplitSeed = 0,
    task: Annotated[
        str | None, typer.Option(help="First draw this task's questions into the bank.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A local file of its questions.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions to draw. Default: all.")
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Pool file. Default: three tiny models in this process.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="Of the sampled draws that are made.")
    ] = 0.5,
    as_json: AsJson = False,
    markdown: Markdown = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Show what log-probabilities are worth beside votes: accuracy, and how sure to be of it."""
    from .compare.pools import PoolOptions
    from .evidence.draw import DrawOptions
    from .evidence.measure import Options
    from .evidence.table import EvidenceTables, run

    options = Options(
        labels=parse_counts(labels, "--labels"),
        k=parse_counts(k, "--k"),
        repeats=repeats,
        seed=seed,
        split_field=split_field,
        train=train,
        test=test,
    )
    members = PoolOptions(pool, accept_license=accept_license)
    draws = (
        None
        if task is None
        else DrawOptions(task, file, members, limit, max(options.k), temperature)
    )
    run(EvidenceTables(banks, options, draws, as_json=as_json, as_markdown=markdown))


def search(  # noqa: PLR0913  Typer reads the options from the parameters
    banks: Banks = None,
    data: PoolsOf = None,
    dataset: Datasets = None,
    sizes: Annotated[str, typer.Option(help="Sizes of the subsets: 2, 2-5, or 2,4.")] = "2-5",
    k: RuleDraws = 3,
    penalty: Penalty = 1.0,
    members: Members = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    repeats: Halvings = 10,
    seed: Seed = 0,
    threshold: Threshold = None,
    as_json: AsJson = False,
    markdown: Markdown = False,
) -> None:
    """Show the paper's model selection table: best single member, subset by O(S), gain."""
    from .paper.search import SearchTable, run
    from .paper.sources import SourceOptions

    run(
        SearchTable(
            SourceOptions(
                banks=banks or (),
                data=data,
                datasets=dataset or (),
                members=members,
                program=program,
                temperature=temperature,
                split_field=split_field,
                train=train,
                test=test,
                repeats=repeats,
                seed=seed,
                threshold=threshold,
            ),
            sizes=parse_sizes(sizes),
            k=k,
            penalty=penalty,
            as_json=as_json,
            as_markdown=markdown,
        )
    )


def scale(  # noqa: PLR0913  Typer reads the options from the parameters
    banks: Banks = None,
    data: PoolsOf = None,
    dataset: Datasets = None,
    k: Annotated[
        int, typer.Option("--k", min=1, help="Draws per member while members are added.")
    ] = 3,
    k_max: Annotated[
        int | None, typer.Option(min=1, help="Most draws per member. Default: all recorded.")
    ] = None,
    max_members: Annotated[
        int, typer.Option(min=1, help="Most members while members are added.")
    ] = 5,
    size: Annotated[int, typer.Option(min=1, help="Members while draws are added.")] = 2,
    penalty: Penalty = 1.0,
    members: Members = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    repeats: Halvings = 10,
    seed: Seed = 0,
    threshold: Threshold = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
    markdown: Markdown = False,
) -> None:
    """Show both scaling figures of the paper, and SLM-MUX beside Agent Forest."""
    from .paper.scale import ScaleTables, run
    from .paper.sources import SourceOptions

    run(
        ScaleTables(
            SourceOptions(
                banks=banks or (),
                data=data,
                datasets=dataset or (),
                members=members,
                program=program,
                temperature=temperature,
                split_field=split_field,
                train=train,
                test=test,
                repeats=repeats,
                seed=seed,
                threshold=threshold,
            ),
            k=k,
            k_max=k_max,
            max_members=max_members,
            size=size,
            penalty=penalty,
            html=html,
            as_json=as_json,
            as_markdown=markdown,
        )
    )
