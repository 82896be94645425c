"""Run in a sandbox whose folder is a small disk: collect until it is full, read, make room, and
go on.

    python -m tests.support.full_disk FOLDER NOTES

prints as JSON what became of it. NOTES lies on another disk.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dspy_mux import BankError, SampleBank

from . import kill

QUESTIONS, SIZE, FREE = 60, 8_000_000, 600_000


def main(folder: Path, notes: Path) -> None:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(SIZE - FREE))
    url = str(folder / "bank.sqlite")
    told, found = [], []
    for _ in range(2):  # the second time it is full from the start
        try:
            kill.collect_and_note(url, notes, QUESTIONS)
        except BankError as error:
            told.append(str(error))
        full = SampleBank(url)
        found.append({key: answer for key, (answer, _) in kill.recorded(full).items()})
        full.close()
    ballast.unlink()
    committed = kill.noted(notes)
    mux = kill.a_mux()
    bank = SampleBank(url)
    done = kill.collect_all(bank, QUESTIONS, mux)
    last = {key: answer for key, (answer, _) in kill.recorded(bank).items()}
    print(
        json.dumps(
            {
                "told": told,
                "committed": len(committed),
                # There may be room for a draw or two the second time.
                "kept": committed.items() <= found[1].items()
                and found[0].items() <= found[1].items()
                and found[1].items() <= last.items(),
                "already": done.already == len(found[1]),
                "missing": done.missing,
                "calls": sum(member.lm.engine.calls for member in mux.members) + done.already,
                "last": len(last),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
