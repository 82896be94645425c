"""llama.cpp's own options: how they are given, kept apart, saved, and refused."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy import lm15

from dspy_mux import ConfigurationError, Member, SLMMux, load_pool
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.local import AsyncLlamaEngine, LlamaEngine, local_lm, local_member, wire

from ..support.fake_llama import FakeServer, request

GRAMMAR = 'root ::= "yes" | "no"'
ALL = {
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "grammar": GRAMMAR,
    "ignore_eos": False,
    "chat_template_kwargs": {"enable_thinking": False},
}


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_every_option_reaches_llama_cpp(xllamacpp, chat_file, how):
    lm = local_lm(chat_file, **ALL, temperature=0.7, top_k=5)
    (answer,) = lm("Hello", seed=3) if how == "call" else await lm.acall("Hello", seed=3)
    (body,) = FakeServer.made[0].bodies

    assert answer == "3!"
    assert {name: body.get(name) for name in ALL} == ALL
    assert (body["temperature"], body["top_k"]) == (0.7, 5)


def test_a_text_to_continue_gets_them_without_the_templates(xllamacpp, chat_file):
    engine, _ = LlamaEngine(chat_file, **ALL).as_text()
    engine.complete(request("Q:"))
    (body,) = FakeServer.made[0].bodies

    assert body["min_p"] == 0.1
    assert "chat_template_kwargs" not in body


def test_template_variables_are_named_once_where_an_adapter_continues_text(chat_file, caplog):
    engine = LlamaEngine(chat_file, chat_template_kwargs={"enable_thinking": False})
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: engine.as_text(), range(8)))

    assert len(engines) == 1
    (record,) = caplog.records
    assert "chatty continue a text, without its chat template" in record.getMessage()


def test_each_setting_has_a_model_string_of_its_own(chat_file):
    plain = LlamaEngine(chat_file).model
    models = [
        LlamaEngine(chat_file, **options).model
        for options in (
            {},
            {"min_p": 0.1},
            {"min_p": 0.2},
            {"repeat_penalty": 1.1},
            {"min_p": 0.1, "repeat_penalty": 1.1},
            {"grammar": GRAMMAR},
            {"grammar": GRAMMAR + " "},
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True}},
        )
    ]

    assert len(set(models)) == len(models)
    assert models[:2] == [plain, f"{plain}?min_p=0.1"]
    assert LlamaEngine(chat_file, repeat_penalty=1, min_p=None).model == (
        LlamaEngine(chat_file, repeat_penalty=1.0).model
    )


def test_members_of_other_options_never_answer_from_each_others_cache(xllamacpp, chat_file):
    names = {"plain": {}, "small": {"min_p": 0.1}, "large": {"min_p": 0.9}}
    pool = [
        local_member(chat_file, name=name, adapter=dspy.ChatAdapter(), **options)
        for name, options in names.items()
    ]
    mux = SLMMux("question -> answer", pool, k=1, temperature=0.7)
    for member in pool:
        member.lm("Hello", seed=1)

    assert [body.get("min_p") for body in FakeServer.made[0].bodies] == [None, 0.1, 0.9]
    assert len({fingerprint_member(mux, at)[0] for at in range(3)}) == 3


@pytest.mark.parametrize("kind", [LlamaEngine, AsyncLlamaEngine])
def test_they_are_kept_by_copies_pickles_and_saved_lms(chat_file, kind):
    engine = kind(chat_file, **ALL)
    for again in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        assert (again.model, again.options) == (engine.model, engine.options)
    assert "options" not in kind(chat_file).dump_state()  # as older versions read it

    lm = local_lm(chat_file, **ALL)
    state = lm.dump_state()
    assert dspy.LM.load_state(state, allow_custom_lm_class=True).engine.options == engine.options


def test_a_saved_mux_brings_them_back(xllamacpp, entry, tmp_path, monkeypatch):
    monkeypatch.setattr("dspy_mux.local.fetch", lambda *_, **__: None)
    options = {name: value for name, value in ALL.items() if name != "ignore_eos"}
    members = [local_member("smollm2-135m", name="a", **options), local_member("smollm2-135m")]
    SLMMux("question -> answer", members, k=2).save(tmp_path / "mux.json")
    first, second = SLMMux.from_file(tmp_path / "mux.json").members

    assert first.lm.model == members[0].lm.model
    assert first.lm.engine.options.given() == options
    assert (second.lm.model, second.lm.engine.options.given()) == ("local/smollm2-135m", {})


def test_a_pool_file_takes_them(xllamacpp, chat_file, tmp_path):
    text = f"""
    [[members]]
    local = {str(chat_file)!r}
    options = {{min_p = 0.1, chat_template_kwargs = {{enable_thinking = false}}, cache = false}}
    """
    (tmp_path / "pool.toml").write_text(text)
    (member,) = load_pool(tmp_path / "pool.toml")

    assert member.lm.engine.options.given() == {
        "min_p": 0.1,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert member.lm.cache is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_p": 2}, "'chatty' is wrong at min_p: .*less than or equal to 1"),
        ({"min_p": "0.1"}, "wrong at min_p: .*number"),
        ({"min_p": True}, "wrong at min_p"),
        ({"repeat_penalty": 0}, "wrong at repeat_penalty: .*greater than 0"),
        ({"repeat_penalty": float("inf")}, "wrong at repeat_penalty: .*finite"),
        ({"grammar": ""}, "wrong at grammar"),
        ({"grammar": 3}, "wrong at grammar"),
        ({"grammar": "root ::= " + "(" * 999 + '"a"' + ")" * 999}, "grammar: it has 999 parenth"),
        ({"ignore_eos": 1}, "wrong at ignore_eos"),
        ({"chat_template_kwargs": []}, "wrong at chat_template_kwargs"),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "enable_thinking is True or False"),
        ({"chat_template_kwargs": {"a": object()}}, r"wrong at chat_template_kwargs\.a"),
        ({"repeat_penalti": 1.1}, "'repeat_penalti': did you mean repeat_penalty"),
        ({"typical_p": 0.9}, "no setting 'typical_p': llama.cpp's own are min_p"),
        ({"service_tier": "flex"}, "no setting 'service_tier'"),
    ],
)
def test_what_is_wrong_is_said_at_once(xllamacpp, chat_file, options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        local_lm(chat_file, **options)
    assert "\n" not in str(caught.value)


def test_an_engine_names_an_option_that_it_does_not_know(chat_file):
    with pytest.raises(ConfigurationError, match="unknown setting min_q: did you mean min_p"):
        LlamaEngine(chat_file, min_q=1)


def test_parentheses_in_a_grammars_texts_are_none(chat_file):
    LlamaEngine(chat_file, grammar="[" * 2**16)  # read in one go, however long
    LlamaEngine(chat_file, grammar='root ::= "' + "(" * 999 + '" | [(((] # (((')


def test_a_base_model_has_no_template_to_set(base_file):
    with pytest.raises(ConfigurationError, match="'plain' has no chat template"):
        LlamaEngine(base_file, chat_template_kwargs={"enable_thinking": False})


def test_settings_of_dspys_own_stay(xllamacpp, chat_file):
    lm = local_lm(chat_file, stop=["\n"], seed=1, logprobs=True, top_logprobs=2, num_retries=0)

    assert lm.kwargs["top_logprobs"] == 2
    assert Member(lm).lm.kwargs["stop"] == ["\n"]


def test_reasoning_that_is_off_turns_thinking_off(xllamacpp, chat_file):
    local_lm(chat_file, reasoning_effort="none")("Hello", seed=1)

    assert FakeServer.made[0].bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_grammar_and_a_format_exclude_each_other(xllamacpp, chat_file):
    lm = local_lm(chat_file, grammar=GRAMMAR)
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="grammar and a response format"):
        lm("Hello", response_format={"type": "json_object"})


def test_an_explicit_request_may_carry_them_too():
    asked = lm15.Request(
        model="m",
        messages=(lm15.Message.user("?"),),
        config=lm15.Config(extensions={"min_p": 0.3, "logit_bias": {"5": 1.0}}),
    )
    engine = LlamaEngine("smollm2-135m", min_p=0.1, repeat_penalty=1.1)
    body, _ = wire.payload_of(asked, chat=True, options=engine.options)

    assert (body["min_p"], body["repeat_penalty"]) == (0.3, 1.1)
    assert body["logit_bias"] == {"5": 1.0}


def test_a_wrong_value_in_a_request_is_refused():
    asked = lm15.Request(
        model="m",
        messages=(lm15.Message.user("?"),),
        config=lm15.Config(extensions={"grammar": 3}),
    )
    with pytest.raises(lm15.InvalidRequestError, match="wrong at grammar"):
        wire.payload_of(asked, chat=True)
