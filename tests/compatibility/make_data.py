"""Make the old files, data/files.tar.gz. Run once, with the code of commit e63537a :

    cp -r tests/compatibility OLD/tests/ && cd OLD && python -m tests.compatibility.make_data

The figures beside them are what that code computed.
"""

# ruff: noqa: I001 (imports of the old code)
from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dspy
from dspy_mux import calibration, fingerprint
from dspy_mux.budget import fit_budgeted
from dspy_mux.collect import collect
from dspy_mux.poolfile import open_mux
from dspy_mux.tally import Tally

from dspy_mux import MuxOptimizer, SampleBank, SLMMux
from eval import compare
from eval.comparing import write_table
from eval.methods import Options

from ..scripted import everything, scripted_lm
from . import figures, world

HOME = Path(__file__).parent / "data"
DATA = HOME / "made"
POOL_FILE = """\
program = "question -> answer: float"
k = 4
temperature = 0.7
rule = "pooled"
schedule = "frugal"
timeout = 30.0

[[members]]
name = "small"
model = "openai/qwen2.5-3b"
api_base = "http://127.0.0.1:8000/v1"
adapter = "plain"
options = { max_tokens = 200 }

[[members]]
name = "other"
model = "openai/gemma3-1b"
api_base = "http://127.0.0.1:8001/v1"
adapter = "json"
k = 2
temperature = 0.1

[accuracies]
small = 0.4
other = 0.5
"""


def main() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    DATA.mkdir(parents=True)
    dspy.configure_cache(enable_disk_cache=False)
    members = world.pool(lm)
    mux = SLMMux(dspy.Predict(world.SIGNATURE), members, k=3, temperature=0.6)
    bank = SampleBank(DATA / "bank.sqlite")
    fields = {"split": "train"}
    half = world.QUESTIONS // 2
    collected = [
        collect(mux, world.examples()[:half], world.metric, bank, fields=fields),
        collect(mux, world.examples()[half:], world.metric, bank, fields={"split": "test"}),
    ]
    assert [(done.missing, done.failed) for done in collected] == [(0, 0), (0, 0)]
    price(bank)
    command("bank", "export", "bank.sqlite", "bank.jsonl")
    figures.tune(command, "study.db")
    save_muxes(mux, bank)
    bank.close()
    told: dict[str, Any] = {
        "verbs": {
            bank: {name: figures.verb(command, name, bank) for name in figures.VERBS}
            for bank in ("bank.sqlite", "bank.jsonl")
        },
        "choices": figures.choices(DATA, members),
        "baselines": save_baselines(members),
        "fingerprints": figures.fingerprints(fingerprint.of_member),
        "pool": save_pool(),
        "table": save_run(members),
    }
    shutil.copy(DATA / "study.db", DATA / "continued.db")
    told["continued"] = figures.tune(command, "continued.db", trials=16)
    (DATA / "continued.db").unlink()
    for database in [DATA / "bank.sqlite", *(DATA / "run").glob("*.sqlite")]:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (HOME / "figures.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    with tarfile.open(HOME / "files.tar.gz", "w:gz") as packed:
        packed.add(DATA, arcname=".")
    shutil.rmtree(DATA)


def lm(name: str, reply: Any, **settings: Any) -> dspy.LM:
    return scripted_lm(name, reply, shown=everything, **settings)


def command(*arguments: object) -> Any:
    words = [sys.executable, "-m", "dspy_mux", *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=DATA)
    return json.loads(done.stdout) if "--json" in words else done.stdout


def price(bank: SampleBank) -> None:
    """Give every draw a cost: the scripted models have none."""
    bank.close()
    with sqlite3.connect(DATA / "bank.sqlite") as connection:
        for name, cost in world.COSTS.items():
            its = "program IN (SELECT id FROM mux_programs WHERE member = ?)"
            done = connection.execute(f"UPDATE mux_draws SET cost = ? WHERE {its}", (cost, name))
            assert done.rowcount, name
    connection.close()


def save_muxes(mux: SLMMux, bank: SampleBank) -> None:
    """A saved mux of each kind of rule."""
    record = bank.record()
    tally = Tally(record.votes)
    settings: Mapping[str, Any] = {
        "members": record.members,
        "contexts": record.field("kind"),
        "context": "kind",
    }
    fitted = calibration.fit(tally, record.scores, **settings)
    assert fitted.instead is None
    bounded = fit_budgeted(tally, record.scores, bound=0.2, **settings)
    few = Tally(record.votes[:6])
    fallen = calibration.fit(few, record.scores[:6], members=record.members)
    assert fallen.instead is not None
    rules = {"calibrated": fitted, "budgeted": bounded, "instead": fallen}
    accuracies = dict(zip(record.members, (0.5, 0.625, 0.75), strict=True))
    for name in ("consistency", "pooled", "self_consistency", *rules):
        schedule = "frugal" if name in ("consistency", "budgeted") else "full"
        made = SLMMux(
            dspy.Predict(world.SIGNATURE),
            mux.members,
            k=3,
            temperature=0.6,
            rule=rules.get(name, name),
            schedule=schedule,
            accuracies=accuracies,
        )
        made.save(DATA / f"mux-{name}.json")
    compiled = MuxOptimizer(world.metric, n_trials=10, context="kind").compile(
        mux, trainset=world.examples()
    )
    compiled.save(DATA / "mux-compiled.json")


def save_baselines(members: dict[str, Any]) -> dict[str, Any]:
    program = dspy.Predict(world.SIGNATURE)
    for name, (method, needed, settings) in world.BASELINES.items():
        method(program, members, **needed, **settings).save(DATA / f"baseline-{name}.json")
    return figures.baselines(DATA, members)


def save_pool() -> Any:
    (DATA / "pool.toml").write_text(POOL_FILE)
    return figures.pool(open_mux(DATA / "pool.toml", None))


def save_run(members: dict[str, Any]) -> Any:
    options = Options(**figures.RUN_OPTIONS)
    run = compare.run(
        [world.task()], lambda name: list(members.values()), options, out=DATA / "run"
    )
    return figures.table(write_table(run).as_dict())


if __name__ == "__main__":
    main()
