"""`python -m tests.answers.corpus [FILE]`: score the corpus, and list what is wrong or missed."""

from __future__ import annotations

import sys
from collections import Counter

from . import Case, cases


def main() -> None:
    wanted = sys.argv[1:]
    chosen = [case for case in cases() if not wanted or case.where.partition(":")[0] in wanted]
    outcomes = [(case, case.outcome()) for case in chosen]
    for case, outcome in outcomes:
        if outcome != "right":
            print(f"{outcome:7}{case.where:18}{case.type:24}{_shown(case)}   [{case.source}]")
    counts = Counter(outcome for _, outcome in outcomes)
    answered = [outcome for case, outcome in outcomes if not case.abstains]
    sources = len({case.source for case in chosen})
    print(
        f"{len(chosen)} cases from {sources} sources: {counts['wrong']} wrong; recall "
        f"{answered.count('right') / max(len(answered), 1):.1%} of {len(answered)}"
    )


def _shown(case: Case) -> str:
    if case.pair is not None:
        return f"{case.pair[0]!r} / {case.pair[1]!r}: the same is {case.same}"
    found = case.kind.extract(case.text or "")
    return f"{case.text!r:.160} → {found!r:.60}, not {case.value!r:.60}"


if __name__ == "__main__":
    main()
