"""What a server refuses: too many, too much, too late, strangers."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import dspy
import httpx
import pytest

from dspy_mux import ConfigurationError, ServeSettings, chat_mux
from dspy_mux.serve.health import Health
from dspy_mux.serve.settings import allowed_hosts, keys_from_environment

from ..support.fault_server import Fault, always, fault_server
from ..support.scripted import scripted_lm
from ..support.served import served
from ..support.wait import until

HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Where?"}]}
KEYS = {"FIRST": "first-key-of-the-tests", "SECOND": "second-key-of-the-tests"}


def chat(**settings):
    lms = {"a": scripted_lm("a", lambda prompt, draw: "Lyon", cache=False)}
    return {"chat": chat_mux(lms, k=2, **settings)}


def post(url, body=HELLO, **settings):
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60, **settings)


def code(response):
    return response.status_code, response.json()["error"]["code"]


class Gate:
    """A model that waits until it is told to answer."""

    def __init__(self):
        self.asked, self.opened = threading.Semaphore(0), asyncio.Event()
        self.loop = None

    def __deepcopy__(self, memo):
        return self

    def complete(self, request):
        raise AssertionError("awaited calls alone")

    def open(self):
        self.loop.call_soon_threadsafe(self.opened.set)

    @property
    def mux(self):
        engine = scripted_lm("gate", lambda prompt, draw: "Lyon").engine
        gate = self

        class Waiting:
            def __deepcopy__(self, memo):
                return self

            async def complete(self, request):
                gate.loop = asyncio.get_running_loop()
                gate.asked.release()
                await gate.opened.wait()
                return engine._response(request)

        lm = dspy.LM("scripted/gate", engine=engine, async_engine=Waiting(), cache=False)
        return {"chat": chat_mux({"gate": lm}, k=1)}


@pytest.fixture
def gate():
    return Gate()


def test_too_many_questions_are_told_to_come_back(gate):
    with served(gate.mux, ServeSettings(max_concurrency=1)) as url, ThreadPoolExecutor() as pool:
        first = pool.submit(post, url)
        assert gate.asked.acquire(timeout=60)
        refused = post(url)
        assert code(refused) == (429, "too_many_requests")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-should-retry"] == "true"
        streamed = post(url, {**HELLO, "stream": True})
        assert code(streamed) == (429, "too_many_requests")
        gate.open()
        assert first.result().status_code == 200
        assert post(url).status_code == 200


def test_a_question_that_takes_too_long_ends(gate):
    with served(gate.mux, ServeSettings(deadline=0.2)) as url:
        late = post(url)
        assert code(late) == (504, "deadline_exceeded")
        assert late.headers["x-should-retry"] == "false"


def test_a_client_that_hangs_up_withdraws_its_draws():
    with fault_server(always(Fault.HANG)) as faults:
        lms = {
            name: dspy.LM(f"openai/{name}", api_base=faults.address, api_key="none")
            for name in "ab"
        }
        with served({"chat": chat_mux(lms, k=1)}) as url:
            for body in (HELLO, {**HELLO, "stream": True}):
                with (
                    httpx.Client(base_url=url, timeout=60) as client,
                    ThreadPoolExecutor() as pool,
                ):
                    before = len(faults.requests)
                    asked = pool.submit(client.post, "/v1/chat/completions", json=body)
                    until(lambda before=before: len(faults.requests) >= before + 2)
                    _hang_up(client)
                    faults.wait_until_left()
                    asked.exception()
            metrics = httpx.get(f"{url}/metrics").text
    assert "mux_questions_under_way 0.0" in metrics
    assert 'mux_questions_total{model="chat",outcome="hung_up"} 2.0' in metrics


def _hang_up(client):
    for connection in client._transport._pool.connections:
        stream = connection._connection._network_stream
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_not_read(chunked):
    body = b'{"model": "' + b"x" * 5000
    with served(chat(), ServeSettings(max_body=1000)) as url:
        sent = iter([body[:100], body[100:]]) if chunked else body
        headers = {"content-type": "application/json"}
        refused = httpx.post(f"{url}/v1/chat/completions", content=sent, headers=headers)
        assert code(refused) == (413, "body_too_large")


def test_bodies_under_way_share_a_limit():
    most = 1000
    body = b'{"model": "chat", "messages": [{"role": "user", "content": "Where?"}]}'.ljust(900)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    begun = f"{head}Content-Type: application/json\r\n\r\n".encode() + b" " * 999
    with served(chat(), ServeSettings(max_body=most)) as url, ExitStack() as held:

        def sent(path="/v1/chat/completions"):
            headers = {"content-type": "application/json"}
            return httpx.post(f"{url}{path}", content=body, headers=headers, timeout=60)

        # What was read makes room again, wherever it went.
        assert [sent().status_code for _ in range(10)] == 10 * [200]
        assert [sent("/none").status_code for _ in range(10)] == 10 * [404]
        address = httpx.URL(url)
        for _ in range(8):
            connection = socket.create_connection((address.host, address.port), timeout=60)
            held.enter_context(connection).sendall(begun)
        until(lambda: sent().status_code == 429)
        refused = sent()
        assert code(refused) == (429, "too_many_bodies")
        assert refused.headers["retry-after"] == "1"
        held.close()
        until(lambda: sent().status_code == 200)


def test_a_body_that_does_not_come_is_not_waited_for():
    with served(chat(), ServeSettings(body_timeout=0.2)) as url:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        reply = _exchange(url, f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"slow_body" in reply


@pytest.mark.parametrize("begun", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: "])
def test_headers_that_do_not_come_are_not_waited_for(begun, monkeypatch):
    monkeypatch.setattr("dspy_mux.serve.listen.PatientProtocol.headers_timeout", 0.2)
    with served(chat()) as url:
        assert _exchange(url, begun) == b""


def _exchange(url, request):
    """Send what there is of a request; return what comes until the server closes."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_calls_are_limited_for_the_process():
    with served(chat(), ServeSettings(max_calls=5)) as url:
        told = [post(url) for _ in range(4)]
        assert [one.status_code for one in told] == [200, 200, 429, 429]
        assert code(told[2]) == (429, "insufficient_quota")
        assert told[2].headers["x-should-retry"] == "false"
        assert code(post(url, {**HELLO, "stream": True})) == (429, "insufficient_quota")


def test_calls_are_limited_for_each_key():
    settings = ServeSettings(keys=KEYS, max_calls_per_key=2)
    with served(chat(), settings) as url:
        for key in KEYS.values():
            bearer = {"authorization": f"Bearer {key}"}
            assert [post(url, headers=bearer).status_code for _ in range(2)] == [200, 429]


def test_answers_of_the_cache_are_free():
    lms = {"a": scripted_lm("a", lambda prompt, draw: "Lyon")}
    with served({"chat": chat_mux(lms, k=2)}, ServeSettings(max_calls=4)) as url:
        assert [post(url).status_code for _ in range(4)] == [200] * 4


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Basic abc"}, "missing_api_key"),
        ({"authorization": "Bearer first-key-of-the-test"}, "invalid_api_key"),
        ({"authorization": "Bearer h\u00e9".encode("latin-1")}, "invalid_api_key"),
    ],
)
def test_wrong_keys_are_refused_and_not_repeated(header, said, caplog):
    with served(chat(), ServeSettings(keys=KEYS)) as url:
        for refused in (
            post(url, headers=header),
            httpx.get(f"{url}/v1/models", headers=header),
            httpx.get(f"{url}/metrics", headers=header),
        ):
            assert code(refused) == (401, said)
            assert "key-of" not in refused.text
        assert httpx.get(f"{url}/healthz").status_code == 200
        bearer = {"authorization": f"Bearer {KEYS['SECOND']}"}
        assert post(url, headers=bearer).status_code == 200
        shown = httpx.get(f"{url}/metrics", headers=bearer).text + caplog.text
    assert "key-of-the-tests" not in shown + repr(ServeSettings(keys=KEYS))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "attacker.example"}, 403),
        ({"host": "attacker.example:80"}, 403),
        ({"host": "localhost:1234"}, 200),
        ({"origin": "https://attacker.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://friend.example"}, 200),
        ({"origin": "http://localhost", "host": "localhost"}, 200),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_pages_of_strangers_cannot_ask(headers, status):
    settings = ServeSettings(origins=["https://friend.example"])
    with served(chat(), settings) as url:
        reply = post(url, headers=headers)
        assert reply.status_code == status
        allowed = reply.headers.get("access-control-allow-origin")
        assert allowed == ("https://friend.example" if "friend" in str(headers) else None)


def test_a_friends_page_may_ask_whether_it_may():
    settings = ServeSettings(keys=KEYS, origins=["https://friend.example"])
    with served(chat(), settings) as url:
        asked = {
            "origin": "https://friend.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        reply = httpx.options(f"{url}/v1/chat/completions", headers=asked)
        assert reply.status_code == 200
        assert "authorization" in reply.headers["access-control-allow-headers"]


def test_one_member_that_is_down_is_not_missed():
    with fault_server(always(Fault.UNAUTHORIZED, model="b")) as faults:
        settings = {"api_base": faults.address, "api_key": "none", "cache": False}
        lms = {name: dspy.LM(f"openai/{name}", **settings) for name in "ab"}
        with served({"chat": chat_mux(lms, k=2)}) as url:
            answers = [post(url).json()["mux"] for _ in range(3)]
            ready = httpx.get(f"{url}/readyz")
            metrics = httpx.get(f"{url}/metrics").text
    assert {answer["member"] for answer in answers} == {"a"}
    assert (ready.status_code, ready.json()["muxes"]["chat"]) == (
        200,
        {"a": "up", "b": "down: LMAuthError"},
    )
    assert 'mux_abstentions_total{cause="LMAuthError",member="b",model="chat"} 6.0' in metrics


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.UNAUTHORIZED, (503, "no_answer")),
        (Fault.RATE_LIMITED_WITH_HINT, (429, "rate_limit_exceeded")),
        (Fault.TOO_LONG, (400, "context_length_exceeded")),
    ],
)
def test_all_members_that_are_down_are_named(fault, told):
    with fault_server(always(fault), retry_after="77") as faults:
        settings = {"api_base": faults.address, "api_key": "sk-secret-of-tests-77", "cache": False}
        lms = {name: dspy.LM(f"openai/{name}", num_retries=0, **settings) for name in "ab"}
        with served({"chat": chat_mux(lms, k=1)}) as url:
            replies = [post(url) for _ in range(3)]
            streamed = post(url, {**HELLO, "stream": True})
            ready = httpx.get(f"{url}/readyz")
    assert [code(reply) for reply in replies] == [told] * 3
    assert replies[0].json()["error"]["causes"].keys() == {"a", "b"}
    assert "sk-secret" not in replies[0].text + streamed.text + ready.text
    assert f'"code": "{told[1]}"' in streamed.text
    assert ready.status_code == 503
    if told[0] == 429:
        assert replies[0].headers["retry-after"] == "77"


def test_a_member_that_was_down_may_be_up_again(monkeypatch):
    health, failed = Health(), _ballot({"LMServerError: no": 2})
    for _ in range(3):
        assert health.cause("m", "a") is None
        health.note("m", [failed])
    assert health.cause("m", "a") == "LMServerError"
    monkeypatch.setattr("dspy_mux.serve.health._FORGOTTEN_S", 0.0)
    assert health.cause("m", "a") is None


def test_replies_of_no_use_are_no_outage():
    health = Health()
    for _ in range(5):
        health.note("m", [_ballot({"unparsable response": 2})])
    assert health.cause("m", "a") is None


def _ballot(causes):
    from dspy_mux.voting.verdict_parts import MemberBallot

    return MemberBallot(member="a", votes=[None, None], confidence=0.0, abstentions=causes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_concurrency": 0},
        {"max_body": 0},
        {"deadline": 0},
        {"max_cost": float("nan")},
        {"max_calls_per_key": 3},
        {"keys": {"A": ""}},
    ],
)
def test_limits_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        ServeSettings(**wrong)


def test_keys_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("ONE", " a ")
    monkeypatch.setenv("TWO", "a")
    monkeypatch.setenv("THREE", "\u00e9")
    assert keys_from_environment(["ONE"]) == {"ONE": "a"}
    for wrong in (["NONE_SUCH"], ["ONE", "TWO"], ["THREE"]):
        with pytest.raises(ConfigurationError, match=wrong[-1]):
            keys_from_environment(wrong)


def test_names_are_checked_on_this_machine_alone():
    assert "localhost" in allowed_hosts("127.0.0.1", [])
    assert allowed_hosts("0.0.0.0", []) == ()
    assert "mux.example" in allowed_hosts("0.0.0.0", ["mux.example"])


def test_a_friends_page_can_read_why_it_is_refused():
    friend = "https://friend.example"
    settings = ServeSettings(keys=KEYS, origins=[friend])
    with served(chat(), settings) as url:
        signed = {"origin": friend, "authorization": "Bearer of-nobody"}
        reply = post(url, headers=signed)
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == friend
    assert "retry-after" in reply.headers["access-control-expose-headers"]
