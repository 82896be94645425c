"""Make the samples of `lm_eval/` (pip install lm-eval): a scripted model, three small tasks.

python harness_samples.py FOLDER
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

SUMS = {
    "What is 9 + 9?": ("18", ["9 + 9 is 18. #### 18", "I say 18.", "It is 19. #### 19"]),
    "What is 20 - 5?": ("15", ["#### 15", "#### 15", "14 it is"]),
    "What is 6 * 7?": ("42", ["6 * 7 = 42", "#### 41", "#### 42"]),
}
DATE = "2026-11-27T18-49-12.987466"
COLOURS = {"What colour is the sky?": 1, "What colour is grass?": 0}
GENERATED = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: generate_until
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
generation_kwargs: {{until: ["\\n\\n"], do_sample: true, temperature: 0.7}}
repeats: {repeats}
filter_list:
  - name: strict
    filter: [{{function: regex, regex_pattern: "#### (-?[0-9.,]+)"}}, {{function: take_first}}]
  - name: flexible
    filter:
      - {{function: regex, group_select: -1, regex_pattern: "(-?[0-9]+)"}}
      - {{function: take_first}}
metadata: {{version: 1.0}}
"""
CHOSEN = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""


class Scripted(LM):
    def __init__(self):
        super().__init__()
        self.asked = dict.fromkeys(SUMS, 0)

    def generate_until(self, requests, **options):
        texts = []
        for request in requests:
            question = request.args[0].split("Question: ")[-1].split("\n")[0]
            texts.append(SUMS[question][1][self.asked[question] % 3])
            self.asked[question] += 1
        return texts

    def loglikelihood(self, requests, **options):
        return [(-0.1 if "blue" in request.args[1] else -2.5, True) for request in requests]

    def loglikelihood_rolling(self, requests, **options):
        return []

    @property
    def tokenizer_name(self):
        return "none"


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


folder, made = Path(sys.argv[1]), Path(tempfile.mkdtemp())
sums = lines(made / "sums.jsonl", [{"question": q, "answer": a} for q, (a, _) in SUMS.items()])
options = ["green", "blue", "red"]
colours = lines(
    made / "colours.jsonl",
    [{"question": q, "choices": options, "answer": a} for q, a in COLOURS.items()],
)
for name, repeats in (("sums", 1), ("sums_repeated", 3)):
    (made / f"{name}.yaml").write_text(GENERATED.format(name=name, data=sums, repeats=repeats))
(made / "colours.yaml").write_text(CHOSEN.format(data=colours))
tracker = EvaluationTracker(output_path=str(made / "out"))
results = lm_eval.simple_evaluate(
    model=Scripted(),
    tasks=["sums", "sums_repeated", "colours"],
    task_manager=TaskManager(include_path=str(made)),
    log_samples=True,
    bootstrap_iters=0,
    evaluation_tracker=tracker,
)
samples = results.pop("samples")
tracker.general_config_tracker.model_name = "org/small"
tracker.general_config_tracker.model_name_sanitized = "org__small"
tracker.save_results_aggregated(results=results, samples=samples)
for name, rows in samples.items():
    tracker.save_results_samples(task_name=name, samples=rows)
for path in (made / "out").rglob("*.json*"):
    text = path.read_text()
    if path.name.startswith("results_"):  # of which the rest is the machine's
        said = json.loads(text)
        text = json.dumps({key: said[key] for key in ("results", "model_name")}, indent=1) + "\n"
    (folder / re.sub(r"\d{4}-\d\d-\d\dT[\d.-]*\d", DATE, path.name)).write_text(text)
