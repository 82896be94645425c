"""Where an answer stands in a reply, read of a server's tokens by every adapter and kind."""

from __future__ import annotations

import enum
from typing import Literal

import dspy
import pytest

from dspy_mux import CompletionAdapter, MathAnswer, Member, PlainAdapter, SLMMux
from dspy_mux.adapters.formats import default_adapter

from ..support.logprob_server import logprob_server
from ..support.scripted import marked

CHAT, JSON, PLAIN, XML = default_adapter, dspy.JSONAdapter, PlainAdapter, dspy.XMLAdapter


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.fixture(scope="module")
def server():
    """A server whose tokens are single bytes, each as probable as its position says."""
    with logprob_server(lambda prompt: "") as server:
        server.split = lambda text: [bytes([byte]) for byte in text.encode()]
        server.weigh = lambda position, token: -float(position)
        yield server


def place(server, reply, annotation=str, adapter=CHAT, fields="answer"):
    """Return what stands before the answer in a reply, and the answer, by its tokens."""
    server.say = lambda prompt: reply
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", engine="lm15", cache=False)
    signature = dspy.Signature(f"question -> {fields}").with_updated_fields(
        "answer", type_=annotation
    )
    pool = [Member(lm, adapter=adapter())]
    mux = SLMMux(dspy.Predict(signature), pool, k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    evidence = draw.evidence
    assert evidence.completion_tokens == len(reply.encode())
    if evidence.answer_logprob is None:
        assert evidence.answer_tokens is None
        return None
    count = evidence.answer_tokens
    start = round(-evidence.answer_logprob / count - (count - 1) / 2)
    return reply.encode()[:start].decode(), reply.encode()[start : start + count].decode()


REASONED = marked(reasoning="Paris? No. Lyon? Paris.", answer="Paris")


@pytest.mark.parametrize(
    ("reply", "annotation", "adapter", "fields", "found", "nth"),
    [
        (REASONED, str, CHAT, "reasoning, answer", "Paris", 2),
        (marked(answer="é Paris, naïve"), str, CHAT, "answer", "é Paris, naïve", 0),
        (marked(answer="巴黎。"), str, CHAT, "answer", "巴黎。", 0),
        (marked(reasoning="6 * 7 = 42", answer="42"), int, CHAT, "reasoning, answer", "42", 1),
        (marked(answer="1,042 apples"), int, CHAT, "answer", "1,042", 0),
        (marked(answer="About 42."), float, CHAT, "answer", "42", 0),
        (marked(answer="Yes."), bool, CHAT, "answer", "Yes", 0),
        (marked(answer="(B) Rome"), Literal["A", "B"], CHAT, "answer", "B", 0),
        (marked(answer="blue"), Colour, CHAT, "answer", "blue", 0),
        (marked(answer="$\\frac{1}{2}$"), MathAnswer, CHAT, "answer", "$\\frac{1}{2}$", 0),
        (marked(answer='["a", "b"]'), list[str], CHAT, "answer", '["a", "b"]', 0),
        ('{"reasoning": "Paris", "answer": "Paris"}', str, JSON, "reasoning, answer", "Paris", 1),
        ('{"reasoning": "7 * 6", "answer": 42}', int, JSON, "reasoning, answer", "42", 0),
        ('{"answer": true}', bool, JSON, "answer", "true", 0),
        ('{"reasoning": "true", "answer": true}', bool, JSON, "reasoning, answer", "true", 1),
        ("<answer>answer</answer>", str, XML, "answer", "answer", 1),
        ("<answer>answer</answer>", Literal["answer", "plea"], XML, "answer", "answer", 1),
        ("<answer>end</answer>\n<end_word>end</end_word>", str, XML, "answer, end_word", "end", 0),
        ("<answer>word</answer>\n<word>x</word>", str, XML, "answer, word", "word", 0),
        (
            "<reasoning>6 or 7</reasoning>\n<answer>7</answer>",
            int,
            XML,
            "reasoning, answer",
            "7",
            1,
        ),
        ("<answer>R&amp;D</answer>", str, XML, "answer", "R&amp;D", 0),
        ("Paris", str, PLAIN, "answer", "Paris", 0),
        ("Reasoning: It is 42.\nAnswer: 42 (42 in all)", int, PLAIN, "reasoning, answer", "42", 1),
        ("Of 42 take 40, so 2. 2 + 40 = 42\n#### 42\n", int, PLAIN, "answer", "42", 2),
        ("4 apples, 2 pears. So there are 6.", int, PLAIN, "answer", "6", 0),
        (" Paris\nQ: Capital of Italy?\nA: Paris", str, CompletionAdapter, "answer", "Paris", 0),
        ("Answer: a\nbanana, banana, banana", str, PLAIN, "answer", "a", 0),
        ("<think>Rome or Paris?</think>Paris", str, PLAIN, "answer", "Paris", 1),
        ("I would say that the answer is **Paris**.", str, CHAT, "answer", "Paris", 0),
    ],
)
def test_the_place_is_where_the_answer_was_read(
    server, reply, annotation, adapter, fields, found, nth
):
    before = found.join(reply.split(found)[: nth + 1])
    assert place(server, reply, annotation, adapter, fields) == (before, found)


def test_reasoning_in_its_tag_is_a_field(server):
    server.say = lambda prompt: (
        "<think>7?</think><reasoning>7, I think</reasoning><answer>7</answer>"
    )
    server.bodies.clear()
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", engine="lm15", cache=False)
    program = dspy.ChainOfThought("question -> answer: int")
    prediction = SLMMux(program, [Member(lm, adapter=XML())], k=1)(question="?")
    assert (prediction.reasoning, prediction.answer) == ("7, I think", 7)
    assert len(server.bodies) == 1  # none by the adapter's fallback


@pytest.mark.parametrize(
    ("reply", "annotation", "adapter"),
    [
        ("It is forty-two in all", int, PLAIN),  # found as the text it is, or not at all
        (marked(answer="a\\u0062c"), str, CHAT),
        (marked(answer="+"), str, CHAT),
        ('{"answer": ["a","b"]}', list[str], JSON),
    ],
)
def test_a_place_is_the_whole_answer_or_none(server, reply, annotation, adapter):
    found = place(server, reply, annotation, adapter)
    whole = "It is forty-two in all"  # the others are fields of a reply
    assert found is None or found[1] in (whole, "forty-two", "a\\u0062c", "+", '["a","b"]')


def test_an_answer_of_several_fields_has_no_place(server):
    reply = marked(title="A", score="4")
    server.say = lambda prompt: reply
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", engine="lm15", cache=False)
    program = dspy.Predict("question -> title, score: int")
    mux = SLMMux(program, [lm], k=1, answer_field=["title", "score"], logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.evidence.answer_logprob is None
    assert draw.evidence.completion_tokens == len(reply)


def test_an_answer_that_the_program_makes_has_no_place(server):
    class Doubled(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict("question -> answer: int")

        def forward(self, question):
            return dspy.Prediction(answer=2 * self.ask(question=question).answer)

    server.say = lambda prompt: marked(answer="21")
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", engine="lm15", cache=False)
    mux = SLMMux(Doubled(), [lm], k=1, answer_field="answer", logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.prediction.answer == 42
    assert draw.evidence.answer_logprob is None


def test_of_several_steps_the_one_that_answers_counts(server):
    class Steps(dspy.Module):
        def __init__(self):
            super().__init__()
            self.plan = dspy.Predict("question -> plan")
            self.ask = dspy.Predict("question, plan -> answer")

        def forward(self, question):
            return self.ask(question=question, plan=self.plan(question=question).plan)

    final = marked(answer="Paris")
    plan = marked(plan="Paris, I think")
    server.say = lambda prompt: final if "[[ ## answer ## ]]" in prompt else plan
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", engine="lm15", cache=False)
    mux = SLMMux(Steps(), [lm], k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.prediction.answer == "Paris"
    start = final.index("Paris")
    assert draw.evidence.answer_logprob == -sum(range(start, start + 5))
    assert draw.evidence.completion_tokens == len(plan) + len(final)
