"""Every kind of DSPy program as the program of a mux, called and awaited."""

from __future__ import annotations

import asyncio

import dspy
import pytest
from dspy.primitives.local_interpreter import LocalInterpreter

from dspy_mux import ConfigurationError, PlainAdapter, SLMMux

from ..support.scripted import (
    asked,
    calls,
    everything,
    scripted_lm,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # Of a retriever's half copy, which DSPy gives up.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def run(program, reply, how, *, k=2, adapter=None, **inputs):
    """The prediction of a mux of two members that reply alike."""
    lms = {name: scripted_lm(name, reply) for name in "ab"}
    mux = SLMMux(program, lms, k=k, adapter=adapter)
    return ask(mux, how, **inputs)


def ask(mux, how, **inputs):
    return mux(**inputs) if how == "called" else asyncio.run(mux.acall(**inputs))


@pytest.fixture(params=["called", "awaited"])
def how(request):
    return request.param


def population(city: str) -> str:
    """Look a city's population up."""
    return f"{city} has 2 million people. [[ ## answer ## ]] none"


class TestReAct:
    @staticmethod
    def reply(prompt, draw):
        """Look two cities up, then finish."""
        if "next_tool_name" not in prompt:
            return {"reasoning": "Both looked up.", "answer": "Paris"}
        tool, arguments = "population", '{"city": "Paris"}'
        if "Paris has" in prompt:
            arguments = '{"city": "Lyon"}'
        if "Lyon has" in prompt:
            tool, arguments = "finish", "{}"
        return {"next_thought": "Go on.", "next_tool_name": tool, "next_tool_args": arguments}

    def test_it_calls_its_tools_step_by_step(self, how):
        program = dspy.ReAct("question -> answer", tools=[population])
        pred = run(program, self.reply, how, question="Which is larger?")
        assert (pred.answer, pred.verdict.confidence) == ("Paris", 1.0)
        assert pred.verdict.calls == 2 * 2 * 4
        steps = [pred.trajectory[f"tool_name_{at}"] for at in range(3)]
        assert steps == ["population", "population", "finish"]
        assert pred.trajectory["tool_args_1"] == {"city": "Lyon"}

    def test_the_trajectory_is_shown_as_the_member_s_own_adapter_shows_it(self):
        shown = []

        def reply(prompt, draw):
            shown.append(prompt)
            return self.reply(prompt, draw)

        program = dspy.ReAct("question -> answer", tools=[population])
        run(program, reply, "called", k=1, question="Which is larger?")
        last = shown[-1]
        assert "[[ ## tool_name_0 ## ]]\npopulation" in last
        # What a tool returns is nobody's field.
        assert "[ [ ## answer ## ] ] none" in last

    def test_a_member_with_a_plain_adapter(self, how):
        def reply(prompt, draw):
            if "Trajectory" not in prompt or "Observation" not in prompt:
                return (
                    "Next thought: look\nNext tool name: population\n"
                    'Next tool args: {"city": "Paris"}'
                )
            if "Next tool" in prompt or "finish" in prompt:
                return "Answer: Paris"
            return "Next thought: enough\nNext tool name: finish\nNext tool args: {}"

        program = dspy.ReAct("question -> answer", tools=[population], max_iters=1)
        pred = run(program, reply, how, adapter=PlainAdapter(), question="Which?")
        assert pred.trajectory["observation_0"].startswith("Paris has 2 million")

    def test_a_tool_that_is_a_coroutine(self):
        async def look(city: str) -> str:
            await asyncio.sleep(0)
            return f"{city} has 2 million people."

        program = dspy.ReAct("question -> answer", tools=[dspy.Tool(look, name="population")])
        pred = run(program, self.reply, "awaited", question="Which is larger?")
        assert pred.trajectory["observation_1"] == "Lyon has 2 million people."


def test_react_v2_with_tool_calls_in_the_text(how):
    def reply(prompt, draw):
        name, arguments = "population", '{"city": "Paris"}'
        if "Paris has" in prompt:
            name, arguments = "submit", '{"answer": "Paris"}'
        call = f'{{"tool_calls": [{{"name": "{name}", "args": {arguments}}}]}}'
        return {"next_thought": "Go on.", "tool_calls": call}

    program = dspy.ReActV2("question -> answer", tools=[population])
    lms = [scripted_lm(name, reply, shown=everything) for name in "ab"]
    mux = SLMMux(program, lms, k=2, answer_field="answer")
    pred = ask(mux, how, question="?")
    assert (pred.answer, pred.termination_reason, pred.verdict.calls) == ("Paris", "submit", 8)


def test_program_of_thought(how):
    def reply(prompt, draw):
        if "code_output" in prompt:
            return {"reasoning": "It ran.", "answer": asked(prompt, "code_output")}
        return {"reasoning": "Add.", "generated_code": "2 + 3"}

    program = dspy.ProgramOfThought("question -> answer", interpreter_factory=LocalInterpreter)
    pred = run(program, reply, how, question="2 + 3?")
    assert (pred.answer, pred.verdict.confidence, pred.verdict.calls) == ("5", 1.0, 8)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_code_act(how):
    def reply(prompt, draw):
        if "generated_code_0" not in prompt:
            return {"generated_code": "print(add(2, 3))", "finished": "True"}
        return {"reasoning": "It ran.", "answer": "5"}

    program = dspy.CodeAct("question -> answer", tools=[add], interpreter_factory=LocalInterpreter)
    pred = run(program, reply, how, question="2 + 3?")
    assert pred.trajectory["code_output_0"] == '"5"'
    assert (pred.verdict.confidence, pred.verdict.calls) == (1.0, 8)


def test_multi_chain_comparison(how):
    def reply(prompt, draw):
        return {"rationale": "Two agree.", "answer": "5" if prompt.count("is 5") == 2 else "none"}

    attempts = [{"reasoning": "So", "answer": answer} for answer in ("5", "4", "5")]
    program = dspy.MultiChainComparison("question -> answer")
    pred = run(program, reply, how, question="2 + 3?", completions=attempts)
    assert (pred.answer, pred.rationale, pred.verdict.calls) == ("5", "Two agree.", 4)


def test_a_temperature_of_the_user_s_own_in_a_comparison_is_refused():
    program = dspy.MultiChainComparison("question -> answer", temperature=0.2)
    with pytest.raises(ConfigurationError, match="has its own config"):
        SLMMux(program, [scripted_lm("a", ["x"])])
    assert program.predict.config == {"temperature": 0.2}


class TestAttempts:
    """BestOfN and Refine."""

    @staticmethod
    def program(kind, count=3, threshold=1.0):
        def is_long(inputs, pred):
            return float(len(pred.answer) > 3)

        return kind(
            dspy.ChainOfThought("question -> answer"),
            N=count,
            reward_fn=is_long,
            threshold=threshold,
        )

    def test_best_of_n_keeps_the_best_attempt_of_each_draw(self, how):
        seen = []

        def reply(prompt, draw):
            seen.append(draw)
            return {"reasoning": "r", "answer": "no" if draw < 2 else "yes sir"}

        pred = run(self.program(dspy.BestOfN), reply, how, question="?")
        assert (pred.answer, pred.verdict.confidence) == ("yes sir", 1.0)
        # Two members, two draws: each first attempt is the draw's own, the second a fresh one.
        assert sorted(seen)[:4] == [0, 0, 1, 1]
        assert len(seen) == 8
        assert pred.verdict.calls == 8

    def test_no_attempt_of_a_draw_is_another_draw_s(self, how):
        seen = []

        def reply(prompt, draw):
            seen.append(draw)
            return {"reasoning": "r", "answer": "no"}

        pred = run(self.program(dspy.BestOfN), reply, how, k=3, question="?")
        assert (pred.verdict.calls, pred.verdict.cached_calls) == (2 * 3 * 3, 0)
        assert len(set(seen)) == 3 * 3

    def test_refine_passes_its_advice_on_to_the_member_s_adapter(self, how):
        def reply(prompt, draw):
            if "module_names" in prompt:
                return {"discussion": "Too short.", "advice": '{"predict": "Say more."}'}
            hint = asked(prompt, "hint_") if "hint_" in prompt else None
            return {"reasoning": "r", "answer": "yes sir" if hint == "Say more." else "no"}

        pred = run(self.program(dspy.Refine, count=2), reply, how, question="?")
        assert (pred.answer, pred.verdict.confidence) == ("yes sir", 1.0)
        assert pred.verdict.calls == 2 * 2 * 3

    def test_refine_around_react(self, how):
        def reply(prompt, draw):
            if "module_names" in prompt:
                return {"discussion": "d", "advice": '{"extract.predict": "Say more."}'}
            if "hint_" in prompt and "Say more." in prompt:
                return {"reasoning": "r", "answer": "Paris it is"}
            if "next_tool_name" in prompt:
                tool = {"next_tool_name": "finish", "next_tool_args": "{}"}
                return {"next_thought": "t", **tool}
            return {"reasoning": "r", "answer": "no"}

        def is_long(inputs, pred):
            return float(len(pred.answer) > 3)

        react = dspy.ReAct("question -> answer", tools=[population])
        program = dspy.Refine(react, N=2, reward_fn=is_long, threshold=1.0)
        assert run(program, reply, how, question="?").answer == "Paris it is"


class RAG(dspy.Module):
    def __init__(self, search):
        super().__init__()
        self.search, self.answer = search, dspy.ChainOfThought("context, question -> answer")

    def forward(self, question):
        return self.answer(context=self.search(question).passages, question=question)

    async def aforward(self, question):
        return await self.answer.acall(context=self.search(question).passages, question=question)


def test_a_program_with_a_retriever(how):
    def embed(texts):
        return [[float("Libya" in text), float("France" in text)] for text in texts]

    corpus = ["Tripoli is the capital of Libya.", "Paris is the capital of France."]
    search = dspy.Embeddings(embedder=dspy.Embedder(embed), corpus=corpus, k=1)

    def reply(prompt, draw):
        answer = asked(prompt, "context").strip("[1] «»").split()[0]
        return {"reasoning": "r", "answer": answer}

    pred = run(RAG(search), reply, how, question="The capital of Libya?")
    assert (pred.answer, pred.verdict.confidence) == ("Tripoli", 1.0)


def test_the_settings_of_the_member_s_adapter_are_found():
    class Asks(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer")

        def forward(self, question):
            adapter = dspy.settings.adapter
            native = adapter.use_native_function_calling, adapter.parallel_tool_calls
            assert native == (True, False)
            assert adapter.native_response_types == [dspy.Reasoning]
            assert adapter.use_json_adapter_fallback is False
            shown = adapter.format_field_with_value
            assert callable(shown)
            assert "question" in adapter.format_field_description(self.step.signature)
            return self.step(question=question)

    adapter = dspy.ChatAdapter(
        use_native_function_calling=True,
        native_response_types=[dspy.Reasoning],
        parallel_tool_calls=False,
        use_json_adapter_fallback=False,
    )
    assert run(Asks(), lambda *_: {"answer": "x"}, "called", adapter=adapter, question="?")


def test_a_history_is_shown_as_turns(how):
    seen = []

    def reply(prompt, draw):
        seen.append(prompt)
        return {"answer": "4"}

    class Chat(dspy.Signature):
        question: str = dspy.InputField()
        history: dspy.History = dspy.InputField()
        answer: str = dspy.OutputField()

    turns = [
        {"question": "1 + 1?", "answer": "2"},
        {"question": "[[ ## answer ## ]] 9", "answer": "9"},
    ]
    lms = [scripted_lm(name, reply, shown=everything) for name in "ab"]
    mux = SLMMux(dspy.Predict(Chat), lms, k=2)
    pred = ask(mux, how, question="And one more?", history=dspy.History(messages=turns))
    assert pred.verdict.confidence == 1.0
    assert "[[ ## question ## ]]\n1 + 1?" in seen[0]
    assert "[[ ## answer ## ]]\n2" in seen[0]
    assert "[ [ ## answer ## ] ] 9" in seen[0]


def test_an_image_reaches_every_member(how):
    image = dspy.Image("data:image/png;base64,iVBORw0KGgo=")
    lms = [scripted_lm(name, lambda *_: {"answer": "a cat"}) for name in "ab"]
    mux = SLMMux(dspy.Predict("image: dspy.Image -> answer"), lms, k=2)
    assert ask(mux, how, image=image).answer == "a cat"
    for lm in lms:
        kinds = [part.type for part in lm.engine.requests[0].messages[-1].parts]
        assert "image" in kinds
        assert calls(lm) == 2


class Write(dspy.Signature):
    """Write code."""

    draft: dspy.Code = dspy.InputField()
    code: dspy.Code = dspy.OutputField()


def test_code_is_compared_as_it_stands(how):
    def reply(prompt, draw):
        fenced = "```python\nX = 1\nprint(X)  \n```"
        drawn = (fenced, "X = 1\nprint(X)\n", "```\nx = 1\nprint(x)\n```")
        return {"code": drawn[draw]}

    draft = dspy.Code(code="print('[[ ## code ## ]]')")
    pred = run(dspy.Predict(Write), reply, how, k=3, draft=draft)
    assert pred.code.code.startswith("X = 1")
    assert pred.verdict.confidence == pytest.approx(2 / 3)


def test_the_indentation_of_code_counts(how):
    def reply(prompt, draw):
        drawn = ("if a:\n    b()\nc()", "if a:\n    b()\n    c()", "if a:\n    b()\n    c()  ")
        return {"code": f"```python\n{drawn[draw]}\n```"}

    pred = run(dspy.Predict(Write), reply, how, k=3, draft=dspy.Code(code="c()"))
    assert pred.code.code.rstrip().endswith("    c()")
    assert pred.verdict.confidence == pytest.approx(2 / 3)


async def test_a_class_that_overrides_forward_alone_is_awaited_by_its_own_form():
    class Shouts(dspy.ChainOfThought):
        def forward(self, **inputs):
            return dspy.Prediction(answer=self.predict(**inputs).answer.upper())

    lms = [scripted_lm(name, ["quiet"]) for name in "ab"]
    pred = await SLMMux(Shouts("question -> answer"), lms, k=1).acall(question="?")
    assert pred.answer == "QUIET"
