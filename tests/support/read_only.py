"""Run in a sandbox where a bank is on a read-only disk: `python -m tests.support.read_only BANK`
prints as JSON what it says."""

from __future__ import annotations

import json
import sys

from dspy_mux import BankError, SampleBank

from .fill import some_questions


def main(path: str) -> None:
    bank, told = SampleBank(path), []
    for use in (lambda: len(list(bank.rows())), lambda: len(some_questions(bank, 7))):
        try:
            told.append(use())
        except BankError as error:
            told.append(str(error))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
