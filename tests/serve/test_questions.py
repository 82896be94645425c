"""Questions over HTTP: a program's inputs, the fields of a request, and what comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import dspy
import httpx
import pytest

from dspy_mux import ServeSettings, SLMMux, chat_mux, serve

from ..support.pools import mux_of
from ..support.scripted import scripted_lm
from ..support.served import served


class Sentiment(dspy.Signature):
    """Judge a review."""

    review: str = dspy.InputField(desc="What a customer wrote.")
    stars: int = dspy.InputField()
    tags: list[str] = dspy.InputField()
    tone: Literal["kind", "harsh"] = dspy.InputField()
    label: Literal["good", "bad"] = dspy.OutputField()
    score: float = dspy.OutputField()


def shown(prompt, draw):
    return {"label": "good", "score": len(prompt)}


ROOT = Path(__file__).parents[2]
MUXES = {
    "qa": mux_of(["Lyon", "Paris", "Lyon"], ["Paris", "Nice", "Rome"], k=3),
    "sums": mux_of(["4"], program="question -> answer: int", k=1),
    "reviews": SLMMux(dspy.Predict(Sentiment), {"a": scripted_lm("a", shown)}, k=1),
    "one-number": mux_of(["4"], program="number: int -> answer: int", k=1),
    "strict": mux_of(["Lyon", "Paris"], k=2, threshold=0.9, otherwise="abstain"),
    "maybe": mux_of(
        ["1", "2"],
        program="question -> answer: int | None",
        k=2,
        threshold=0.9,
        otherwise="abstain",
    ),
    "pictures": mux_of(["4"], program="image: dspy.Image -> answer", k=1),
    "albums": mux_of(["4"], program="album: dict[str, list[dspy.Image]] -> answer", k=1),
    "files": mux_of(["4"], program="files: list[dspy.File] -> answer", k=1),
    "ratio": mux_of(["4"], program="ratio: float -> answer", k=1),
    "pairs": mux_of(["4"], program="left: float, right: str -> answer", k=1),
    "chat": chat_mux({"a": scripted_lm("chat-a", lambda prompt, draw: "Lyon")}, k=2),
}
REVIEW = {"review": "Fine.", "stars": 4, "tags": ["a"], "tone": "kind"}


@pytest.fixture(scope="module")
def client():
    with served(MUXES) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ask(client):
    def ask(model, content="Where?", **fields):
        messages = [{"role": "user", "content": content}]
        body = {"model": model, "messages": messages, **fields}
        return client.post("/v1/chat/completions", json=body)

    return ask


def refusal(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    return error


def test_the_text_is_a_programs_only_input(ask):
    response = ask("qa")
    body = response.json()
    assert body["choices"][0]["message"]["content"] == "Lyon"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 60, "completion_tokens": 12, "total_tokens": 72}
    assert body["mux"]["ballots"][0]["votes"] == [0, 1, 0]
    assert response.headers["x-mux-member"] == "a"
    assert response.headers["x-mux-confidence"] == "0.6667"
    assert response.headers["x-mux-trusted"] == "unknown"
    assert response.headers["x-mux-calls"] == "6"


def test_an_answer_that_is_no_text_comes_as_json(ask):
    assert json.loads(ask("sums").json()["choices"][0]["message"]["content"]) == 4


def test_several_inputs_come_as_json(ask):
    body = ask("reviews", json.dumps(REVIEW)).json()
    # Without a field named answer, the last one is compared.
    assert float(body["choices"][0]["message"]["content"]) > 0


def test_an_input_of_another_type_comes_as_json(ask):
    assert ask("one-number", "12").status_code == 200
    assert refusal(ask("one-number", "a dozen"))["param"] == "messages"


@pytest.mark.parametrize(
    "wrong", [{"stars": "four"}, {"tone": "cool"}, {"tags": None}, {"more": 1}, {"stars": 4.5}]
)
def test_wrong_inputs_are_named(ask, client, wrong):
    (name,) = wrong
    assert name in refusal(ask("reviews", json.dumps({**REVIEW, **wrong})))["message"]
    error = refusal(client.post("/v1/mux/reviews", json={"inputs": {**REVIEW, **wrong}}))
    assert error["param"].startswith(f"inputs.{name}")


def test_missing_inputs_are_named(ask):
    assert "review, stars, tags, tone" in refusal(ask("reviews", "Fine."))["message"]


def test_named_inputs_have_named_outputs(client):
    body = client.post("/v1/mux/reviews", json={"inputs": REVIEW}).json()
    assert body["outputs"].keys() == {"label", "score"}
    assert body["verdict"]["member"] == "a"


def test_a_mux_describes_its_inputs(client):
    described = client.get("/v1/mux/reviews").json()
    assert [one["type"] for one in described["inputs"]] == ["str", "int", "json", "choice"]
    assert described["inputs"][0]["description"] == "What a customer wrote."
    assert described["input_schema"]["required"] == list(REVIEW)
    assert described["output_schema"]["properties"]["label"]["enum"] == ["good", "bad"]


@pytest.mark.parametrize(
    "url", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x.png", "gs://a/b", "data:x"]
)
def test_images_are_sent_along(ask, client, url):
    shown = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    assert refusal(ask("chat", shown))["code"] == "unsupported_value"
    error = refusal(client.post("/v1/mux/pictures", json={"inputs": {"image": {"url": url}}}))
    assert error["param"].startswith("inputs.image")


def test_images_are_found_wherever_they_are(client):
    album = {"a": [{"url": "data:image/png;base64,AAAA"}, {"url": "http://169.254.169.254/x"}]}
    error = refusal(client.post("/v1/mux/albums", json={"inputs": {"album": album}}))
    assert (error["code"], error["param"]) == ("unsupported_value", "inputs.album")


def test_images_may_be_named_by_address_where_that_is_allowed():
    image = {"type": "image_url", "image_url": {"url": "https://images.example/x.png"}}
    body = {"model": "chat", "messages": [{"role": "user", "content": [image]}]}
    with served({"chat": MUXES["chat"]}, ServeSettings(image_urls=True)) as url:
        assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize("file", [{"file_id": "file-1"}, {"file_data": "https://x.example/y"}])
def test_files_are_sent_along(client, file):
    files = [{"file_data": "data:text/plain;base64,QQ=="}, file]
    error = refusal(client.post("/v1/mux/files", json={"inputs": {"files": files}}))
    assert (error["code"], error["param"]) == ("unsupported_value", "inputs.files")
    assert client.post("/v1/mux/files", json={"inputs": {"files": files[:1]}}).status_code == 200


def test_files_may_be_named_where_that_is_allowed():
    body = {"inputs": {"files": [{"file_id": "file-1"}]}}
    with served({"files": MUXES["files"]}, ServeSettings(image_urls=True)) as url:
        assert httpx.post(f"{url}/v1/mux/files", json=body).status_code == 200


@pytest.mark.parametrize(
    ("model", "content"),
    [
        ("pairs", '{"left": NaN, "right": "x"}'),
        ("pairs", '{"left": 1, "right": "\\ud83d"}'),
        ("ratio", '{"ratio": Infinity}'),
    ],
)
def test_inputs_in_a_message_are_strict_json(ask, model, content):
    assert refusal(ask(model, content))["code"] == "invalid_inputs"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "https://127.0.0.1/x"}},
        {"type": "document", "source": {"type": "file", "path": "/etc/passwd"}},
        {"type": "input_audio", "input_audio": {"data": "/etc/../passwd.", "format": "wav"}},
        {"text": "Hi"},
    ],
)
def test_other_content_is_refused(ask, part):
    assert refusal(ask("chat", [part]))["param"].startswith("messages")


def test_members_are_models_of_their_own(client, ask):
    names = [one["id"] for one in client.get("/v1/models").json()["data"]]
    assert names[:3] == ["qa", "qa/a", "qa/b"]
    assert client.get("/v1/models/qa/b").json()["id"] == "qa/b"
    assert ask("qa/b").json()["mux"]["member"] == "b"


def test_an_unknown_model_is_not_found(client, ask):
    assert refusal(ask("none"), 404)["code"] == "model_not_found"
    for path in ("/v1/models/none", "/v1/mux/none", "/none"):
        refusal(client.get(path), 404)


@pytest.mark.parametrize("model", ["strict", "maybe"])
def test_an_answer_that_is_not_trusted_is_a_refusal(ask, client, model):
    response = ask(model)
    message = response.json()["choices"][0]["message"]
    assert (message["content"], response.headers["x-mux-trusted"]) == (None, "false")
    assert "0.50 is below the threshold 0.9" in message["refusal"]
    body = client.post(f"/v1/mux/{model}", json={"inputs": {"question": "Where?"}}).json()
    assert (body["outputs"], body["verdict"]["trusted"]) == (None, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("n", 2), ("n", True), ("logprobs", True), ("top_logprobs", 3), ("audio", {})),
        *(("logit_bias", {"1": 1}), ("modalities", ["audio"]), ("functions", [{"name": "f"}])),
        *(("web_search_options", {}), ("top_k", 4), ("verbosity", "low"), ("temperature", 3)),
        *(("temperature", "warm"), ("max_tokens", 0), ("stop", 4), ("messages", [])),
        *(("tools", [{"type": "custom"}]), ("response_format", {"type": "json_schema"})),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {
            "type": "strin"}}}),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(ask, field, value):
    error = refusal(ask("chat", **{field: value}))
    assert error["type"] == "invalid_request_error"
    assert error["param"].split(".")[0] == field


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "logit_bias": None, "audio": None, "modalities": ["text"]},
        {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"},
        {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"top_p": 0.9, "stop": ["\n"], "presence_penalty": 0.5, "max_completion_tokens": 9},
    ],
)
def test_what_asks_for_nothing_is_let_through(ask, fields):
    assert ask("chat", **fields).status_code == 200


@pytest.mark.parametrize("field", ["temperature", "max_tokens", "stop", "top_p", "tools"])
def test_a_program_keeps_its_own_settings(ask, field):
    value = {"stop": "x", "tools": [{"type": "function", "function": {"name": "f"}}]}.get(field, 1)
    assert refusal(ask("qa", **{field: value}))["param"] == field


def test_at_temperature_0_each_member_is_asked_once(ask):
    assert ask("chat", temperature=0).json()["mux"]["ballots"][0]["votes"] == [0]
    assert ask("chat", temperature=0.9).json()["mux"]["ballots"][0]["votes"] == [0, 0]


def test_a_seed_draws_anew_and_again(ask):
    calls = [ask("qa", "Seeded?", seed=seed).json()["mux"]["calls"] for seed in (1, 2, 1)]
    assert calls == [6, 6, 0]


def test_what_is_no_request_is_refused(client):
    for body in (b"{", b"[]", b"4", b"\xff", b""):
        headers = {"content-type": "application/json"}
        response = client.post("/v1/chat/completions", content=body, headers=headers)
        assert response.status_code == 400, body
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_chats_take_messages_and_programs_inputs(client):
    messages = [{"role": "user", "content": "Hi"}]
    assert client.post("/v1/mux/chat", json={"messages": messages}).status_code == 200
    assert refusal(client.post("/v1/mux/chat", json={"inputs": {}}))["param"] == "messages"
    assert refusal(client.post("/v1/mux/qa", json={"messages": messages}))["param"] == "inputs"


def test_the_chapter_lists_every_code():
    source = "".join(path.read_text("utf-8") for path in Path(serve.__file__).parent.glob("*.py"))
    told = (ROOT / "docs" / "serving.md").read_text("utf-8")
    codes = set(re.findall(r'code="(\w+)"', source)) - {"client_closed_request"}
    assert [code for code in sorted(codes) if f"`{code}`" not in told] == []
