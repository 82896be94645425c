"""What servers give for one request is learned: nothing is lost meanwhile, and it is remembered."""

from __future__ import annotations

import asyncio
import json
import logging

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.sampling import group_limits
from dspy_mux.sampling.group_limits import LONG, ServerLimits, negotiate, server_limits

from ..support.choice_server import choice_server
from ..support.fault_server import Fault, fault_server
from ..support.group_draws import a_mux, an_lm, answers, asked, each_engine, each_way, numbered
from ..support.scripted import marked

K = 9
EACH = {str(number): 1 for number in range(K)}


def prolix(prompt, number):
    """Too long to be written twice by chance."""
    return marked(reasoning=f"Because of {number}: " + "so it is, " * 30, answer=str(number))


@each_way
@pytest.mark.parametrize(
    ("name", "first", "later"),
    [
        ("n-refused", [9] + [1] * 9, [1] * 9),
        ("n-unnamed", [9, 4, 2] + [1] * 9, [1] * 9),
        ("one-choice", [9] + [1] * 8, [1] * 9),
        ("one-text", [9, 7] + [1] * 7, [1] * 9),
        ("limited-n", [9, 4, 4, 1], [4, 4, 1]),
    ],
)
def test_a_server_that_does_not_take_n_costs_no_draw_and_is_remembered(how, name, first, later):
    with choice_server(prolix) as server:
        server.most = 4
        mux = a_mux(server, name, k=K, temperature=0.7)
        for sizes in (first, later):
            server.bodies.clear()
            server._numbers.clear()
            server.given.clear()
            verdict = asked(mux, how, f"{sizes}?").verdict
            assert sorted(server.sizes(), reverse=True) == sizes
            assert sum(answers(verdict).values()) == K
            assert verdict.ballots[0].abstentions == {}
            if name != "one-text":  # of whose first request one choice was kept
                assert answers(verdict) == EACH
            assert verdict.calls == server.given[name]  # copies are billed, too
            if name in ("one-choice", "one-text"):  # the others were refused some
                assert verdict.calls - verdict.shared_calls == len(server.bodies)
        assert verdict.calls - verdict.shared_calls == len(server.bodies)


@each_engine
def test_a_server_that_gave_more_before_may_be_replaced_by_one_that_gives_fewer(engine):
    with choice_server(numbered) as server:
        mux = a_mux(server, "limited-n", k=K, engine=engine)
        for server.most, sizes in ((9, [9]), (4, [9, 4, 4, 1]), (4, [4, 4, 1])):
            server.bodies.clear()
            verdict = mux(question=f"{server.most}, {sizes}").verdict
            assert sorted(server.sizes(), reverse=True) == sizes
            assert answers(verdict) == EACH


@each_engine
def test_what_each_engine_makes_of_a_refusal(engine):
    with choice_server(prolix) as server:
        verdict = a_mux(server, "n-refused", k=3, engine=engine)(question="?").verdict
        assert server.sizes() == [3, 1, 1, 1]
        assert answers(verdict) == {"0": 1, "1": 1, "2": 1}


@each_engine
def test_the_log_repeats_a_refusal_without_keys(engine, caplog):
    caplog.set_level(logging.INFO, "dspy_mux")
    key = "sk-live-0123456789abcdef"
    with choice_server(prolix) as server:
        server.says = f"'n' must be 1 for the key {key} (" + "so it is, " * 99
        lm = an_lm(server, "n-refused", engine=engine)
        lm.kwargs["api_key"] = key
        SLMMux(dspy.Predict("question -> answer"), [lm], k=3)(question="?")
    [told] = [record.message for record in caplog.records if "a request" in record.message]
    assert told.startswith("openai/n-refused gives one choice a request (")
    assert "Error" in told
    assert "'n' must be 1 for the key" in told
    assert key not in told
    assert len(told) < 300


def test_a_server_that_gives_fewer_each_time_is_asked_for_no_more_than_that(kept):
    sent = []

    def give(n, most=2):
        sent.append(n)
        return [f"{len(sent)} {at}" for at in range(min(n, most))]

    negotiated(9, give)
    assert server_limits.most(HOSTED) is None  # it may have lost some
    negotiated(1, give)
    negotiated(7, give)
    assert server_limits.most(HOSTED) == 2
    negotiated(5, give)
    assert sent == [9, 1, 7, 2]
    assert not kept.exists()


def test_a_server_that_gave_fewer_once_is_asked_for_as_many_as_before(kept):
    for most in (9, 8, 9, 5, 9, 1, 9):
        negotiated(9, lambda n: [str(at) for at in range(min(n, most))])  # noqa: B023
    assert server_limits.most(HOSTED) is None


def test_fewer_choices_than_asked_for_are_topped_up():
    with choice_server(numbered) as server:
        server.most = 4
        verdict = a_mux(server, "fewer-choices", k=K)(question="?").verdict
        assert server.sizes() == [9, 5, 1]
        assert answers(verdict) == EACH
        assert (verdict.calls, verdict.shared_calls) == (9, 6)
        server.bodies.clear()
        a_mux(server, "fewer-choices", k=K)(question="!")
        assert sorted(server.sizes(), reverse=True) == [4, 4, 1]


@each_way
def test_a_passing_server_error_is_no_refusal(how):
    met = []

    def plan(request):
        met.append(request.n)
        return Fault.SERVER_ERROR if len(met) == 1 else None

    with fault_server(plan) as server:
        mux = a_mux(server, "a", k=3)
        verdict = asked(mux, how).verdict
        assert (met, answers(verdict)) == ([3, 3], {"42": 3})
        asked(mux, how, "!")
        assert met == [3, 3, 3]


def test_a_server_error_at_every_n_is_a_refusal_of_this_process_alone(not_loopback):
    def plan(request):
        return Fault.SERVER_ERROR if request.n > 2 else None

    with fault_server(plan) as server:
        mux = a_mux(server, "a", k=4)
        assert answers(mux(question="?").verdict) == {"42": 4}
        assert [request.n for request in server.requests] == [4, 4, 2, 2]
        assert answers(mux(question="!").verdict) == {"42": 4}
        assert [request.n for request in server.requests[4:]] == [2, 2]
    assert not server_limits._file().exists()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("dspy_mux.sampling.retry.FIRST_WAIT_S", 0.01)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file of what servers refuse, of this test alone."""
    file = tmp_path / "cache" / "choices.json"
    monkeypatch.setattr(server_limits, "_file", lambda: file)
    return file


@pytest.fixture
def not_loopback(monkeypatch, kept):
    """Servers of this machine stand for others."""
    monkeypatch.setattr(group_limits, "is_loopback", lambda address: False)


def test_a_refusal_is_kept_for_other_processes_but_not_for_ever(kept, not_loopback, monkeypatch):
    with choice_server(numbered) as server:
        a_mux(server, "n-refused", k=3)(question="?")
        server_limits.forget()  # as a process that begins
        server.bodies.clear()
        a_mux(server, "n-refused", k=3)(question="!")
        assert server.sizes() == [1, 1, 1]
        assert server.address not in kept.read_text()  # it may hold a password
        server_limits.forget()
        now = group_limits.time.time() + group_limits.KEPT_S
        monkeypatch.setattr(group_limits.time, "time", lambda: now)
        server.bodies.clear()
        a_mux(server, "n-refused", k=3)(question=".")
        assert server.sizes() == [3, 1, 1, 1]


def test_nothing_is_kept_of_servers_on_this_machine(kept):
    with choice_server(numbered) as server:
        a_mux(server, "n-refused", k=3)(question="?")
    assert not kept.exists()


HOSTED = ("https://models.example/v1", "a")


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"x": 1}', "\x00\xff"])
def test_a_damaged_file_is_as_good_as_none(kept, damage):
    kept.parent.mkdir()
    kept.write_text(damage)
    assert ServerLimits(lambda: kept).most(HOSTED) is None
    limits = ServerLimits(lambda: kept)
    limits.limit(HOSTED, 4, "it said so")
    assert ServerLimits(lambda: kept).most(HOSTED) == 4
    assert list(json.loads(kept.read_text()).values())[-1]["most"] == 4


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    limits = ServerLimits(lambda: tmp_path / "file" / "choices.json")
    limits.limit(HOSTED, 1, "it said so")
    assert limits.most(HOSTED) == 1


def test_a_limit_is_logged_once_and_never_raised(kept, caplog):
    caplog.set_level(logging.INFO, "dspy_mux")
    limits = ServerLimits(lambda: kept)
    for most in (4, 4, 5, 1):
        limits.limit(HOSTED, most, "refused")
    assert [record.message for record in caplog.records] == [
        "a gives 4 choices a request (refused).",
        "a gives one choice a request (refused).",
    ]


class Short:
    """A first call whose choices are texts."""

    server, temperature = HOSTED, 0.5

    def text_of(self, choice):
        return choice

    def describe(self, error):
        return str(error)

    def merged(self, choices):
        return choices[0]

    def further(self):
        return True


def negotiated(wanted, give):
    """The choices of each request, given what `give` gives for n."""

    async def send(n):
        return give(n)

    return asyncio.run(negotiate(Short(), wanted, send)).replies


def test_short_answers_that_are_the_same_are_not_taken_for_copies(kept):
    for _ in range(40):
        assert sum(len(reply) for reply in negotiated(5, lambda n: ["yes"] * n)) == 5
    assert server_limits.most(HOSTED) is None


def test_copies_of_short_answers_are_found_by_answers_asked_for_apart(kept):
    told, asked_for = [], 0

    def give(n):
        nonlocal asked_for
        asked_for += 1
        return [f"yes {asked_for}"] * n

    while server_limits.most(HOSTED) is None and len(told) < 100:
        told.append(negotiated(5, give))
    assert server_limits.most(HOSTED) == 1
    assert [len(reply) for reply in told[-1]] == [1, 1]  # the others ask anew
    assert len(told) < 20


@pytest.mark.parametrize("wanted", [2, 5])
def test_long_answers_that_are_the_same_apart_too_are_not_taken_for_copies(kept, wanted):
    asked_for = []

    def give(n):
        asked_for.append(n)
        return ["so " * LONG] * n

    for _ in range(3):
        assert sum(len(reply) for reply in negotiated(wanted, give)) == wanted
    assert asked_for == [wanted, 1, wanted, wanted]
    assert server_limits.most(HOSTED) is None


@each_engine
def test_copies_that_no_draw_is_given_are_in_the_bill(engine):
    with choice_server(prolix) as server:
        verdict = a_mux(server, "one-text", k=K, engine=engine)(question="?").verdict
        each = server.count(prolix("?", 0))
        assert verdict.completion_tokens == each * server.given["one-text"]
        assert verdict.prompt_tokens == server.prompt_tokens * len(server.bodies)


def test_a_server_that_ever_varied_is_never_taken_for_one_that_copies(kept):
    negotiated(2, lambda n: ["yes", "no"])
    negotiated(3, lambda n: ["so " * LONG] * n)
    assert server_limits.most(HOSTED) is None


@pytest.mark.parametrize(
    ("status", "asked_for"),
    [(400, [9, 4, 2, 1]), (422, [9, 4, 2, 1]), (429, [9]), (401, [9]), (503, [9]), (None, [9])],
)
def test_only_what_may_be_about_n_is_asked_again(kept, status, asked_for):
    sent = []

    class Refusal(Exception):
        pass

    def give(n):
        sent.append(n)
        refusal = Refusal("no")
        refusal.status = status
        raise refusal

    with pytest.raises(Refusal):
        negotiated(9, give)
    assert sent == asked_for
    assert server_limits.most(HOSTED) is None  # it refused one choice, too


@each_way
def test_what_litellm_passes_no_n_to_is_asked_for_each_draw_alone(how, caplog):
    caplog.set_level(logging.INFO, "dspy_mux")
    with choice_server(numbered) as server:
        lm = dspy.LM("mistral/m", api_base=server.address, api_key="none", engine="litellm")
        mux = SLMMux(dspy.Predict("question -> answer"), [lm], k=3, group=True)
        verdict = asked(mux, how).verdict
        assert server.sizes() == [1, 1, 1]
        assert (sum(answers(verdict).values()), verdict.calls, verdict.shared_calls) == (3, 3, 0)
        assert "one choice a request (LiteLLM passes it no n)" in caplog.text
