"""`python -m tests.support.keyed_run FOLDER ADDRESS`: all that dspy-mux writes, from members
whose servers echo their keys."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path

import dspy

from dspy_mux import AllMembersFailed, Member, MuxError, MuxOptimizer, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.baselines import LLMDebate
from dspy_mux.mux.pool_file import PoolFile
from eval.compare.command import write_table
from eval.compare.methods import Options
from eval.compare.run import compare
from eval.report import write
from programs.tasks import Task

#: What each member sends, by where it is told: a pool file's variable, an argument, a header, an
#: address.
KEYS = {
    "variable": "sk-fake-A1b2C3d4E5f6G7h8",
    "argument": "fake/B+9=8.key-0123456789",
    "header": "gw-C0ffee-1234567890",
    "address": "p4ss-D-word-987",
}
VARIABLE = "ECHO_KEY"


def examples(
    split: str | None = None, *, seed: int = 0, limit: int | None = None
) -> list[dspy.Example]:
    rows = [
        dspy.Example(question=f"{split} {n}?", answer="42", question_id=f"{split}-{n}")
        for n in range(4)
    ]
    return [row.with_inputs("question") for row in rows]


def right(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return prediction.answer == "42"


def pool_file(folder: Path, address: str) -> Path:
    path = folder / "pool.toml"
    of_member = f'api_base = "{address}/v1"\napi_key_env = "{VARIABLE}"\n'
    members = (("echoes", "lm15"), ("refuses", "litellm"), ("answers", "lm15"))
    path.write_text(
        "".join(
            f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\nengine = "{e}"\n{of_member}'
            for n, e in members
        )
    )
    return path


def members(address: str) -> list[Member]:
    own = {"api_base": f"{address}/v1", "engine": "lm15", "num_retries": 0}
    by_litellm = {
        **own,
        "engine": "litellm",
    }  # DSPy's own engine takes neither headers nor a user in an address
    host = address.partition("://")[2]
    header = {"X-Gateway-Key": KEYS["header"]}
    return [
        Member(dspy.LM("openai/echoes-b", api_key=KEYS["argument"], **own), name="echoes-b"),
        Member(
            dspy.LM("openai/rambles-c", api_key="none", extra_headers=header, **by_litellm),
            name="rambles-c",
        ),
        Member(dspy.LM("openai/refuses-b", api_key=KEYS["argument"], **own), name="refuses-b"),
        Member(dspy.LM("openai/answers-b", api_key=KEYS["argument"], **own), name="answers-b"),
        Member(
            dspy.LM(
                "openai/refuses-d",
                api_key="none",
                **{**by_litellm, "api_base": f"http://user:{KEYS['address']}@{host}/v1"},
            ),
            name="refuses-d",
        ),
    ]


def told(mux: dspy.Module, folder: Path, name: str) -> None:
    """The verdict of a question, or the error, in every form there is."""
    try:
        verdict = mux(question="?").verdict
    except MuxError as error:
        (folder / f"{name}.error").write_text(
            "".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__)
        )
        print(error)
        return
    (folder / f"{name}.verdict").write_text(
        f"{verdict!r} {verdict} {verdict.model_dump_json()} {verdict._repr_html_()}"
    )


def main(folder: Path, address: str) -> None:
    logger = logging.getLogger("dspy_mux")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.FileHandler(folder / "debug.log"))
    dspy.configure_cache(enable_disk_cache=False)
    pool = PoolFile.load(pool_file(folder, address)).mux()
    everyone = SLMMux("question -> answer", members(address), k=2)
    told(pool, folder, "pool")
    told(everyone, folder, "members")
    for at, member in enumerate([*pool.members, *everyone.members]):
        told(SLMMux("question -> answer: float", [member], k=1), folder, f"alone-{at}")
    told(LLMDebate("question -> answer", everyone.members[:4], rounds=2), folder, "debate")
    for name, mux in (("pool", pool), ("members", everyone)):
        mux.save(folder / f"{name}.json")
        collect(
            mux, examples("train"), right, SampleBank(folder / "bank.sqlite"), dataset=name, k=2
        )
    optimizer = MuxOptimizer(
        metric=right,
        bank=folder / "bank.sqlite",
        n_trials=3,
        storage=f"sqlite:///{folder}/study.db",
        max_members=2,
    )
    best = optimizer.compile(everyone, trainset=examples("train"), valset=examples("validation"))
    best.save(folder / "best.json")
    (folder / "best.report").write_text(f"{best.report} {best.report!r} {best.report.to_html()}")
    task = Task("sums", lambda: dspy.Predict("question -> answer: str"), examples, right)
    options = Options(methods=("slm_mux", "self_consistency", "llm_debate"), k=2, num_threads=4)
    run = compare(
        [task],
        lambda name: everyone.members,
        options,
        out=folder / "run",
        command="python -m eval compare",
    )
    write_table(run)
    write(run.path, folder / "report.html")
    try:
        SLMMux("question -> answer", [everyone.members[2]], k=1)(question="one that fails")
    except AllMembersFailed:
        logger.exception("A caller's own log of the error.")
    raise MuxError(f"Told on stderr: {[str(error) for error in errors(everyone)]}")


def errors(mux: SLMMux) -> list[Exception]:
    found: list[Exception] = []
    for member in mux.members:
        try:
            SLMMux("question -> answer: int", [member], k=1)(question="again?")
        except MuxError as error:
            found.append(error)
    return found


if __name__ == "__main__":
    assert os.environ[VARIABLE] == KEYS["variable"]
    main(Path(sys.argv[1]), sys.argv[2])
