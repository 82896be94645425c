"""Make the logs of `inspect/`: three sums, two models, three epochs each (pip install inspect-ai).

python inspect_logs.py FOLDER
"""

import sys
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import write_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate

QUESTIONS = [("What is 9 + 9?", "18"), ("What is 20 - 5?", "15"), ("What is 6 * 7?", "42")]
REPLIES = {
    "small": [
        *("18", "The answer is 18.00", "$19"),
        *("15", "15", "I do not know"),
        *("42", "ANSWER: 42", "41"),
    ],
    "large": ["18", "18", "18", "15", "14", "15", "42", "42", "It is 42"],
}


def log_of(name, path):
    """Evaluate a scripted model and write its log."""
    to_come = {q: REPLIES[name][3 * at : 3 * at + 3] for at, (q, _) in enumerate(QUESTIONS)}

    def reply(messages, tools, choice, config):
        text = to_come[messages[-1].text].pop(0)
        output = ModelOutput.from_content(f"mockllm/{name}", text)
        words = len(text.split())
        output.usage = ModelUsage(input_tokens=12, output_tokens=words, total_tokens=12 + words)
        return output

    samples = [
        Sample(id=f"sum-{at}", input=q, target=t, metadata={"kind": "+" if "+" in q else "other"})
        for at, (q, t) in enumerate(QUESTIONS)
    ]
    task = Task(
        name="sums",
        dataset=samples,
        solver=generate(),
        scorer=match(numeric=True),
        epochs=3,
        config=GenerateConfig(temperature=0.7),
    )
    model = get_model(f"mockllm/{name}", custom_outputs=reply)
    (log,) = eval(task, model=model, log_dir=str(path.parent), display="none", log_realtime=False)
    log.samples = list(log.samples)
    Path(log.location.removeprefix("file://")).unlink()
    log.eval.model_args.clear()
    log.eval.revision = None
    for sample in log.samples:  # what was sent and when, many times as long as the rest
        sample.events, sample.timelines, sample.events_data = [], None, None
    write_eval_log(log, str(path))


folder = Path(sys.argv[1])
log_of("small", folder / "small.eval")
log_of("large", folder / "large.json")
