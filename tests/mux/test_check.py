"""`check_pool`, against servers that do what it asks about, or do not."""

from __future__ import annotations

import enum
import threading
from types import SimpleNamespace

import dspy
import pytest

from dspy_mux import ConfigurationError, JSONSchemaAdapter, Member, PlainAdapter, check_pool
from dspy_mux.mux import probe
from dspy_mux.mux.example_inputs import example_inputs
from dspy_mux.mux.signature_text import parse_signature
from dspy_mux.sampling.group_limits import server_limits
from dspy_mux.sampling.usage import server_of

from ..support.choice_server import choice_server
from ..support.echo import echo_server
from ..support.fault_server import Fault, always, fault_server
from ..support.http_models import model_server
from ..support.scripted import marked

IN_FORMAT = marked(reasoning="Known.", answer="Paris")
KEY = "sk-aVeryPrivateKey42"


def lm(server, name="fine", **settings):
    return dspy.LM(f"openai/{name}", api_base=server.address, api_key="none", **settings)


@pytest.fixture
def server():
    with choice_server(lambda prompt, number: IN_FORMAT) as server:
        yield server


def test_a_member_that_does_all_is_asked_twice(server):
    (found,) = check_pool({"fine": lm(server)})
    assert (found.name, found.model, found.answer) == ("fine", "openai/fine", "Paris")
    assert (found.logprobs, found.several, found.suits) == (True, True, "chat")
    assert (found.problem, found.findings) == (None, ())
    assert [(each.adapter, each.followed, each.draws) for each in found.formats] == [("chat", 3, 3)]
    assert server.sizes() == [1, 2]
    assert found.spent.calls == 3
    tokens = server.count(IN_FORMAT)
    assert found.spent.completion_tokens == 3 * tokens
    assert found.tokens_per_second == pytest.approx(tokens / found.seconds)


def test_no_answer_comes_from_the_cache(server):
    member = lm(server)
    for asked in (2, 4):
        (found,) = check_pool([member])
        assert (len(server.bodies), found.spent.cached_calls) == (asked, 0)


@pytest.mark.parametrize(
    ("name", "logprobs", "several"),
    [
        ("small-one-choice", True, False),
        ("small-n-refused", True, False),
        ("refuses", False, True),
        ("ignores", False, True),
    ],
)
def test_what_a_server_does_not_give_is_noticed(server, name, logprobs, several):
    (found,) = check_pool([lm(server, name)])
    assert (found.logprobs, found.several) == (logprobs, several)
    assert (found.problem, found.findings) == (None, ())  # a mux does without


def test_a_server_that_is_known_to_give_one_choice_is_not_asked_for_more(server):
    known = dspy.LM("ollama_chat/a", api_base=server.address, api_key="none")
    found = check_pool([known, Member(lm(server), group=False)])
    assert [each.several for each in found] == [False, None]
    assert server.sizes() == [1, 1]


def test_what_its_settings_insist_on_is_told(server):
    insists = Member(lm(server, "ignores-one-choice"), logprobs=True, group=True)
    (found,) = check_pool([insists])
    assert [sentence.partition(",")[0] for sentence in found.findings] == [
        "gives no log-probabilities",
        "gives one answer a request",
    ]


def test_what_was_learned_of_a_server_is_learned_anew(server):
    member = lm(server)
    server_limits.limit(server_of(member), 1, "it was so last week")
    assert check_pool([member])[0].several is True
    assert server_limits.most(server_of(member)) is None


def test_a_member_out_of_format_is_asked_by_the_other_adapters():
    with choice_server(lambda prompt, number: "That would be Paris.") as server:
        (found,) = check_pool([lm(server)])
        assert found.answer is None
        assert found.problem == (
            'kept to the format of adapter "chat" in 0 of 3 replies, and to that of "plain": '
            'write adapter = "plain".'
        )
        assert found.suits == "plain"
        tried = {each.adapter: each.followed for each in found.formats}
        assert tried == {"chat": 0, "plain": 1, "json_schema": 0, "json": 0}
        (fixed,) = check_pool([Member(lm(server, "again"), adapter=PlainAdapter())])
        assert (fixed.problem, fixed.findings, fixed.suits) == (None, (), "plain")


def test_a_member_in_format_most_of_the_time_keeps_its_adapter():
    with choice_server(lambda prompt, number: IN_FORMAT if number else "Paris!") as server:
        (found,) = check_pool([lm(server)])
    assert found.findings == (
        'kept to the format of adapter "chat" in 2 of 3 replies; a reply without an answer is an '
        "abstention.",
    )
    assert (found.answer, found.problem, len(found.formats)) == ("Paris", None, 1)


def test_an_answer_that_is_found_in_the_text_is_one():
    with choice_server(lambda prompt, number: "The answer is **42**.") as server:
        (found,) = check_pool([lm(server)], "question -> answer: int")
    assert (found.answer, found.problem) == ("42", None)
    assert found.findings == (
        'kept to the format of adapter "chat" in 0 of 3 replies (3 had the answer elsewhere in the '
        'text), and to that of "plain": write adapter = "plain".',
    )


def test_a_member_that_follows_a_schema_alone():
    with choice_server(lambda prompt, number: '{"reasoning": "", "answer": "positive"}') as server:
        program = "text -> answer: Literal['positive', 'negative']"
        (found,) = check_pool([Member(lm(server), adapter=JSONSchemaAdapter())], program)
    assert (found.answer, found.suits) == ("positive", "json_schema")


def test_a_member_that_keeps_to_no_format():
    with choice_server(lambda prompt, number: "I cannot say.") as server:
        (found,) = check_pool([lm(server)], "question -> answer: int")
    assert found.suits is None
    assert found.problem.endswith("to that of no other: use another model, or a simpler program.")


LABELS = "question -> answer: Literal['billing', 'delivery', 'repair']"


def test_the_question_is_one_that_a_label_answers():
    with choice_server(lambda prompt, number: marked(reasoning="", answer="billing")) as server:
        (found,) = check_pool([lm(server)], LABELS)
        asked = server.bodies[0]["messages"][-1]["content"]
    assert 'Which of "billing", "delivery", "repair" is the same as "billing"?' in asked
    assert (found.answer, found.problem, found.findings) == ("billing", None, ())


def test_an_answer_that_is_no_label_breaks_no_format():
    with choice_server(lambda prompt, number: IN_FORMAT) as server:
        (found,) = check_pool([lm(server)], LABELS)
        assert server.sizes() == [1, 2]  # no other adapter is tried
    assert (found.answer, found.formats[0].misfits) == (None, ("Paris",) * 3)
    assert found.problem == (
        'kept to the format of adapter "chat", but answered "Paris", which is none of "billing", '
        '"delivery", "repair": ask another question (--question), or use another model.'
    )


def test_an_answer_of_another_type_now_and_then():
    def say(prompt, number):
        return marked(reasoning="", answer="42" if number else "Paris")

    with choice_server(say) as server:
        (found,) = check_pool([lm(server)], "question -> answer: float")
    assert (found.answer, found.problem) == ("42.0", None)
    assert found.findings == (
        'answered "Paris" in 1 of 3 replies, which is no float; such a reply is an abstention.',
    )


def test_a_reply_that_is_cut_off():
    with fault_server(always(Fault.CUT_OFF)) as server:
        (found,) = check_pool([lm(server, max_tokens=20)])
    assert found.problem == (
        "was cut off at max_tokens = 20 before its answer: write max_tokens = 512."
    )
    assert {request.n for request in server.requests} == {1}


def test_a_member_that_hangs_ends_with_its_time():
    with fault_server(always(Fault.HANG)) as server:
        (found,) = check_pool([lm(server)], timeout=0.2)
        assert len(server.requests) == 1
    assert found.problem == (
        "gave no answer within 0.2 s: its server hangs, or its answers take a longer timeout."
    )
    assert (found.seconds, found.logprobs, found.several) == (None, None, None)


def test_members_are_asked_at_the_same_time():
    both = threading.Barrier(2, timeout=60)

    def say(prompt, number):
        if not number:
            both.wait()  # for the other member's first question
        return IN_FORMAT

    with choice_server(say) as server:
        pool, checked = [lm(server, "a"), lm(server, "b")], []
        found = check_pool(pool, on_checked=checked.append)
    assert [each.name for each in found] == ["openai/a", "openai/b"]
    assert all(each.problem is None for each in found)
    assert sorted(checked, key=lambda each: each.name) == found


def test_a_server_that_is_not_there():
    address = "http://127.0.0.1:9/v1"
    (found,) = check_pool([dspy.LM("openai/a", api_base=address, api_key="none")])
    assert found.problem == f"reaches no server at {address}: start it, or correct api_base."


def test_a_model_that_the_server_does_not_have():
    with model_server() as server:
        address = f"{server.address}/v1"
        server.models = ["qwen2.5:3b", "gemma3:1b", *(f"other-{n}" for n in range(9))]
        unknown = dspy.LM("ollama_chat/unknown-qwen2.5", api_base=address, api_key="none")
        (found,) = check_pool([unknown])
        named = "qwen2.5:3b, gemma3:1b, other-0, other-1, other-2, other-3, other-4, other-5"
        assert found.problem == (
            "names the model 'unknown-qwen2.5', which its server does not have (it has "
            f"{named} and 3 more): run `ollama pull unknown-qwen2.5`, or write "
            'model = "ollama_chat/qwen2.5:3b".'
        )
        server.models = [KEY]
        (found,) = check_pool([unknown.copy(api_key=KEY)])
        assert "(it has ***)" in found.problem
        assert KEY not in repr(found)
        server.models = []
        (found,) = check_pool([unknown.copy()])
        assert found.problem.endswith("which its server does not have: correct its model.")
        server.models = ["unknown"]  # as where a path of the server's is not its API
        (found,) = check_pool([dspy.LM("openai/unknown", api_base=server.address, api_key="none")])
        assert found.problem.endswith(f'but not its API: write api_base = "{address}".')


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("path", ["", "/", "/v2", "/v1/chat/completions"])
def test_an_address_with_another_path_is_told_the_right_one(path, engine):
    with model_server() as server:
        server.strict, server.models = True, ["fine"]
        member = lm(server, engine=engine, num_retries=0).copy(api_base=server.address + path)
        (found,) = check_pool([member], "question -> answer: int")
        right = f'write api_base = "{server.address}/v1"'
        assert found.problem == f"reaches its server, but not its API: {right}."
        (fixed,) = check_pool([member.copy(api_base=f"{server.address}/v1")])
        assert fixed.answer == "42"
        server.models = ["other"]
        (found,) = check_pool([member])
        assert found.problem.endswith(f"{right}, and the name of a model that it has (other).")


def test_an_address_without_an_api_anywhere():
    with model_server() as server:
        server.strict = True
        (found,) = check_pool([dspy.LM("openai/a", api_base=server.address, api_key="none")])
    assert found.problem.startswith(f"finds no API at {server.address} (LMInvalidRequestError: ")
    assert "HTTP 404 at /chat/completions: is api_base right? Most end in /v1" in found.problem


def test_another_server_in_ollamas_place():
    with model_server() as server:
        server.strict, server.models = True, ["fine"]
        member = dspy.LM("ollama_chat/fine", api_base=server.address, engine="litellm")
        (found,) = check_pool([member])
        right = f'write model = "openai/fine" and api_base = "{server.address}/v1".'
    assert found.problem == f"reaches a server that is not Ollama: {right}"


def test_an_address_without_a_scheme():
    member = dspy.LM("openai/a", api_base="localhost:8000/v1", api_key="none", num_retries=0)
    (found,) = check_pool([member])
    assert found.problem.endswith('write api_base = "http://localhost:8000/v1".')


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (KEY, "has a key that its server refuses: check the variable that api_key_env names."),
        ("none", 'has no key, and its server asks for one: write api_key_env = "NAME", the name'),
    ],
)
def test_a_key_that_is_refused_is_not_told(key, told):
    with fault_server(always(Fault.UNAUTHORIZED)) as server:
        (found,) = check_pool([dspy.LM("openai/a", api_base=server.address, api_key=key)])
    assert found.problem.startswith(told)
    assert key == "none" or key not in repr(found)


def test_a_key_that_a_server_sends_back_is_not_told():
    with echo_server() as server:
        pool = [
            dspy.LM(f"openai/{name}", api_base=server.address, api_key=KEY)
            for name in ("refuses", "echoes")
        ]
        found = check_pool(pool)
    assert all(each.problem for each in found)
    assert KEY not in repr(found)


def test_a_hosted_model_without_a_key(monkeypatch):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    (found,) = check_pool([dspy.LM("groq/a")])
    assert found.problem.startswith("has no key, and its server asks for one: set GROQ_API_KEY, or")


def test_the_model_that_is_escalated_to_is_asked_once(server):
    large = Member(lm(server, "large"), name="large")
    found = check_pool([lm(server)], escalate=large)
    assert [each.escalates for each in found] == [False, True]
    (asked,) = [body for body in server.bodies if body["model"] == "large"]
    assert asked["temperature"] == 0.0
    assert found[1].several is None


def test_a_slow_first_answer_is_asked_for_again(server, monkeypatch):
    clock = [0.0]

    def say(prompt, number):
        clock[0] += 14.0 if number == 0 else 1.0  # as where the model is loaded at first
        return IN_FORMAT

    server.say_next = say
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    (found,) = check_pool([lm(server)])
    assert (found.first_seconds, found.seconds) == (14.0, 1.0)
    assert server.sizes() == [1, 1, 2]
    assert found.findings[0].startswith("took 14.0 s for its first answer and 1.0 s for the next")


def test_inputs_are_made_up_for_their_types(server):
    program = "context, n: int, words: list[str], kind: Literal['a', 'b'], x: float | None, q -> y"
    check_pool([lm(server)], program)
    shown = server.bodies[0]["messages"][-1]["content"]
    assert "[[ ## q ## ]]\nWhat is the capital of France?" in shown
    assert "[[ ## n ## ]]\n12" in shown
    assert "[[ ## kind ## ]]\na" in shown


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("bool", "Is Paris the capital of France?"),
        ("Percent", "What percentage of 100 is 42?"),
        ("MathAnswer", "What is 12 + 30?"),
        ("list[int]", "What is 12 + 30?"),
        ("Optional[Literal['a', 'b']]", 'Which of "a", "b" is the same as "a"?'),
        ("dict[str, float]", "What is the capital of France?"),
    ],
)
def test_the_question_fits_the_answer(kind, question):
    program = dspy.Predict(parse_signature(f"question -> answer: {kind}"))
    assert example_inputs(program) == {"question": question}


def test_the_question_names_the_values_of_an_enum():
    class Kind(enum.Enum):
        BUG = "a bug"
        WISH = "a wish"

    program = dspy.Predict(dspy.Signature("text -> label: Kind", custom_types={"Kind": Kind}))
    assert example_inputs(program) == {"text": 'Which of "a bug", "a wish" is the same as "a bug"?'}


def test_questions_may_be_given(server):
    check_pool([lm(server)], question="What is 2 + 2?")
    assert "What is 2 + 2?" in server.bodies[0]["messages"][-1]["content"]
    check_pool([lm(server, "b")], "a, n: int -> answer", question={"a": "Why?", "n": "7"})
    assert "[[ ## n ## ]]\n7" in server.bodies[-1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("program", "question", "told"),
    [
        ("a, b -> answer", "Why?", "takes 2 inputs: give all of a, b by name"),
        ("a, b -> answer", {"a": "Why?"}, "The input 'b' is wrong: field required"),
        ("n: int -> answer", "seven", "The input 'n' is wrong: input should be"),
    ],
)
def test_questions_that_do_not_fit_are_refused(server, program, question, told):
    with pytest.raises(ConfigurationError, match=told):
        check_pool([lm(server)], program, question=question)
    assert server.bodies == []


def test_a_pool_that_no_mux_takes_is_refused(server):
    with pytest.raises(ConfigurationError, match="Two members are named 'a'"):
        check_pool([Member(lm(server), name="a"), Member(lm(server, "b"), name="a")])
