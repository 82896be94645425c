"""The files of `data/`, each made by its own tool, and shapes of those that need a server."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
SMALL_LOG, LARGE_LOG = DATA / "inspect" / "small.eval", DATA / "inspect" / "large.json"
_DATE = "2026-11-27T18-49-12.987466"
HARNESS = DATA / "lm_eval"
SUMS = HARNESS / f"samples_sums_{_DATE}.jsonl"
REPEATED = HARNESS / f"samples_sums_repeated_{_DATE}.jsonl"
COLOURS = HARNESS / f"samples_colours_{_DATE}.jsonl"
HARNESS_RESULTS = HARNESS / f"results_{_DATE}.json"
_DETAILS = DATA / "lighteval" / "details" / "org" / "small" / "2026-11-27T18-50-00.000000"
SUMS_DETAILS = _DETAILS / "details_sums__0_2026-11-27T18-50-00.000000.parquet"
COLOURS_DETAILS = _DETAILS / "details_colours__0_2026-11-27T18-50-00.000000.parquet"
HELM = DATA / "helm" / "scenario_state.json"
PROMPTFOO = DATA / "promptfoo" / "results.json"

QUESTIONS = {"sum-0": ("What is 9 + 9?", "18"), "sum-1": ("What is 20 - 5?", "15")}


def batch_line(question, *texts, model="small", status=200, error=None, **body):
    """A line of a batch's output, as OpenAI's API and vLLM's run_batch write it."""
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
        for at, text in enumerate(texts)
    ]
    said = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764268800,
        "model": model,
        "choices": choices,
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
        **body,
    }
    response = {"status_code": status, "request_id": "req-1", "body": said}
    return {
        "id": "batch_req_1",
        "custom_id": question,
        "response": None if error else response,
        "error": error,
    }


def offline_line(prompt, *texts):
    """An output of vLLM's `LLM.generate`, as its fields are dumped."""
    outputs = [
        {
            "index": at,
            "text": text,
            "token_ids": [7] * len(text.split()),
            "cumulative_logprob": -0.5 * len(text.split()),
            "finish_reason": "stop",
            "stop_reason": None,
        }
        for at, text in enumerate(texts)
    ]
    return {"request_id": "0", "prompt": prompt, "outputs": outputs, "finished": True}
