"""Charts of discussions: how right and wrong answers change from round to round."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from ..groupthink.measure import Turn
from ..runs.folder import errors_of
from .look import OUTCOMES, Chart
from .read import Answered, NotInTheRun, TaskAnswers

_FAINT = {
    "right": "var(--right-faint)",
    "wrong": "var(--wrong-faint)",
    "no answer": "var(--none-faint)",
}
#: Gap between the bars of a round, as a share of the height.
_GAP = 0.06

Node = tuple[int, str]


def debate(task: TaskAnswers) -> Chart:
    """Plot right and wrong answers of the debate's agents from each round to the next."""
    return _flows(
        task,
        "llm_debate",
        "Debate: answers from round to round",
        "round",
        "Each agent's answer counts once.",
    )


def layers(task: TaskAnswers) -> Chart:
    """Plot right and wrong answers of Mixture-of-Agents from layer to layer."""
    note = (
        "Each agent's answer counts once; the aggregator's, in the last layer, once for every "
        "answer it was given."
    )
    return _flows(
        task, "mixture_of_agents", "Mixture-of-Agents: answers from layer to layer", "layer", note
    )


def _flows(task: TaskAnswers, method: str, title: str, step: str, note: str) -> Chart:
    if method not in task.answers:
        name = "LLM-Debate" if method == "llm_debate" else "Mixture-of-Agents"
        raise NotInTheRun(f"The run has no answers of {name}.")
    answers = {
        question: each
        for question, each in task.answers[method].items()
        if not errors_of(each.turns)
    }
    flows = _count_flows(answers)
    if not flows:
        raise NotInTheRun(
            f"{task.title(method)} has one {step} in this run, or an error on every question: "
            "nothing flows."
        )
    nodes = _nodes(flows)
    at = {node: index for index, node in enumerate(nodes)}
    last = max(number for number, _ in nodes)
    links = list(flows.items())
    return Chart(
        title=f"{title}, n = {sum(bool(each.turns) for each in answers.values())} questions",
        note="Bars are answers that are right, wrong or missing, bands what became of them. "
        f"{note} Questions with a turn that an error ended are left out.",
        traces=[
            {
                "type": "sankey",
                "arrangement": "fixed",
                "node": {
                    "label": [f"{outcome} {nodes[number, outcome]}" for number, outcome in nodes],
                    "color": [OUTCOMES[outcome] for _, outcome in nodes],
                    "x": [min(max((number - 1) / (last - 1), 0.001), 0.999) for number, _ in nodes],
                    "y": _heights(nodes),
                    "thickness": 16,
                    "pad": 14,
                    "line": {"width": 0},
                    "hovertemplate": f"{step} %{{customdata}}<extra></extra>",
                    "customdata": [
                        f"{number}: {outcome}, {nodes[number, outcome]} answers"
                        for number, outcome in nodes
                    ],
                },
                "link": {
                    "source": [at[source] for (source, _), _ in links],
                    "target": [at[target] for (_, target), _ in links],
                    "value": [count for _, count in links],
                    "color": [_FAINT[source[1]] for (source, _), _ in links],
                    "hovertemplate": "%{customdata}<extra></extra>",
                    "customdata": [
                        f"{a} → {b}: {count} answers" for ((_, a), (_, b)), count in links
                    ],
                },
            }
        ],
        layout={
            "margin": {"l": 8, "r": 8, "t": 36, "b": 12},
            "annotations": [
                {
                    "text": f"{step} {number}",
                    "x": (number - 1) / (last - 1),
                    "y": 1,
                    "yshift": 26,
                    "xref": "paper",
                    "yref": "paper",
                    "xanchor": "left" if number == 1 else "right" if number == last else "center",
                    "showarrow": False,
                }
                for number in range(1, last + 1)
            ],
        },
        legend=[(outcome, color, "■") for outcome, color in OUTCOMES.items()],
        columns=(step, "answer", f"next {step}", "answers"),
        rows=[[str(number), a, b, str(count)] for ((number, a), (_, b)), count in links],
        height=360,
    )


def _count_flows(answers: Mapping[str, Answered]) -> dict[tuple[Node, Node], int]:
    """Count answers by ((round, outcome), (next round, outcome)).

    An agent continues as itself, or as the aggregator if one agent speaks last for all.
    """
    flows: Counter[tuple[Node, Node]] = Counter()
    for answered in answers.values():
        rounds: dict[int, dict[int, str]] = defaultdict(dict)
        for turn in answered.turns:
            rounds[turn["round"]][turn["agent"]] = outcome(turn)
        for number, said in rounds.items():
            following = rounds.get(number + 1, {})
            for agent, before in said.items():
                after = (
                    next(iter(following.values())) if len(following) == 1 else following.get(agent)
                )
                if after is not None:
                    flows[(number, before), (number + 1, after)] += 1
    order = list(OUTCOMES)
    return dict(
        sorted(
            flows.items(),
            key=lambda item: [(number, order.index(what)) for number, what in item[0]],
        )
    )


def outcome(turn: Turn) -> str:
    """Return a turn's outcome, in the words of `Answered.outcome`."""
    return "no answer" if turn["group"] is None else "right" if turn["score"] >= 1 else "wrong"


def _nodes(flows: Mapping[tuple[Node, Node], int]) -> dict[Node, int]:
    """Count answers by (round, outcome), by round and in the order of the outcomes."""
    into: Counter[Node] = Counter()
    out_of: Counter[Node] = Counter()
    for (source, target), count in flows.items():
        out_of[source] += count
        into[target] += count
    order = list(OUTCOMES)
    found = sorted({*into, *out_of}, key=lambda node: (node[0], order.index(node[1])))
    return {node: max(into[node], out_of[node]) for node in found}


def _heights(nodes: Mapping[Node, int]) -> list[float]:
    """The middle of each bar, as a share of the height from the top."""
    totals: Counter[int] = Counter()
    for (number, _), count in nodes.items():
        totals[number] += count
    most = max(totals.values())
    below: dict[int, float] = defaultdict(float)
    heights = []
    for (number, _), count in nodes.items():
        share = count / most * (1 - 2 * _GAP)
        heights.append(min(max(below[number] + share / 2, 0.001), 0.999))
        below[number] += share + _GAP
    return heights
