"""Make the run of `helm/`, through HELM's own classes and metric (pip install crfm-helm).

python helm_run.py FOLDER
"""

import json
import sys
from pathlib import Path

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.metrics.evaluate_reference_metrics import exact_match
from helm.benchmark.metrics.metric import PerInstanceStats
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.statistic import Stat
from helm.benchmark.scenarios.scenario import CORRECT_TAG, Input, Instance, Output, Reference
from helm.common.general import asdict_without_nones
from helm.common.request import GeneratedOutput, Request, RequestResult, Token

OPTIONS = ["green", "blue", "red"]
QUESTIONS = [
    ("What colour is the sky?", 1, [" B", " B"]),
    ("What colour is grass?", 0, [" A", " B"]),
    ("What colour is blood?", 2, [" C", " A"]),
]
MAPPING = dict(zip("ABC", OPTIONS, strict=True))
NAME = MetricName("exact_match", split="test")


def state_of(instance, question, trial, reply):
    options = "".join(f"\n{letter}. {text}" for letter, text in MAPPING.items())
    request = Request(
        model="org/small",
        model_deployment="org/small",
        prompt=f"Question: {question}{options}\nAnswer:",
        temperature=0.5,
        max_tokens=1,
    )
    text = GeneratedOutput(text=reply, logprob=-0.25, tokens=[Token(text=reply, logprob=-0.25)])
    result = RequestResult(
        success=True,
        embedding=[],
        completions=[text],
        cached=False,
        request_time=0.5,
        request_datetime=1764268800,
    )
    return RequestState(
        instance=instance,
        reference_index=None,
        request_mode=None,
        train_trial_index=trial,
        output_mapping=MAPPING,
        request=request,
        result=result,
        num_train_instances=0,
        prompt_truncated=False,
    )


states, of_instances, total = [], [], Stat(NAME)
for at, (question, right, replies) in enumerate(QUESTIONS):
    references = [
        Reference(Output(text=text), [CORRECT_TAG] if option == right else [])
        for option, text in enumerate(OPTIONS)
    ]
    instance = Instance(Input(text=question), references, split="test", id=f"id{at}")
    for trial, reply in enumerate(replies):
        states.append(state_of(instance, question, trial, reply))
        stat = Stat(NAME).add(exact_match(OPTIONS[right], MAPPING[reply.strip()]))
        total.merge(stat)
        of_instances.append(PerInstanceStats(instance.id, None, trial, [stat]))
adapter = AdapterSpec(method="multiple_choice_joint", model="org/small", num_train_trials=2)
files = {
    "scenario_state": asdict_without_nones(ScenarioState(adapter, states)),
    "per_instance_stats": [asdict_without_nones(stats) for stats in of_instances],
    "stats": [asdict_without_nones(total)],
}
for name, content in files.items():
    (Path(sys.argv[1]) / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
