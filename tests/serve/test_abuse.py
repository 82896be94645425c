"""What strangers and broken clients send: each gets a clean error, and the server goes on."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from contextlib import closing

import dspy
import httpx
import pytest

from dspy_mux import SLMMux
from dspy_mux.serve.chat import chat_mux
from dspy_mux.serve.settings import ServeSettings, allowed_hosts

from ..support.scripted import scripted_lm
from ..support.served import served
from ..support.wait import until

KEY = "a-key-for-these-tests-3"
MOST = 100_000
CHAT = "/v1/chat/completions"
MESSAGE = '{"model": "chat", "messages": [{"role": "user", "content": %s}]%s}'


@pytest.fixture(scope="module")
def port():
    muxes = {
        "chat": chat_mux({"a": scripted_lm("a", lambda prompt, draw: "Hello.")}, k=2),
        "program": SLMMux(dspy.Predict("question -> answer"), {"b": scripted_lm("b", ["42"])}, k=1),
        "slow": chat_mux({"c": scripted_lm("c", lambda prompt, draw: "Late.", latency=60)}, k=1),
    }
    settings = ServeSettings(
        keys={"TEST_KEY": KEY},
        max_body=MOST,
        body_timeout=0.5,
        max_concurrency=8,
        hosts=allowed_hosts("127.0.0.1", []),
    )
    with served(muxes, settings) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def client(port):
    signed = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=signed, timeout=30) as client:
        yield client
        # Whatever it was sent, the server goes on.
        assert client.post(CHAT, content=MESSAGE % ('"Hello"', "")).status_code == 200


def raw(port: int, data: bytes, *more: bytes) -> str:
    """Send bytes and return all that comes until the server closes the connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        for part in (data, *more):
            connection.sendall(part)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found.decode("latin-1")


def head(method: str, path: str, *headers: str) -> bytes:
    given = {"host": "Host: localhost", "key": f"Authorization: Bearer {KEY}"}
    for header in headers:
        given[header.partition(":")[0].lower()] = header
    lines = [f"{method} {path} HTTP/1.1", *given.values(), "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def status(reply: str) -> int:
    found = re.match(r"HTTP/1.1 (\d+) ", reply)
    assert found, reply[:100]
    return int(found[1])


def assert_clean(reply: httpx.Response, code: int) -> dict:
    assert reply.status_code == code, reply.text
    error = reply.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert KEY not in reply.text
    assert "Traceback" not in reply.text
    return error


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"model": "chat"}',
        b"\xff\xfe\x00",
        DEEP.encode(),
        (MESSAGE % ('[{"type": "text", "x": ' + "[" * 300 + "]" * 300 + "}]", "")).encode(),
        (MESSAGE % ('"x"', ', "temperature": NaN')).encode(),
        (MESSAGE % ('"x"', ', "temperature": 1e999')).encode(),
        (MESSAGE % ('"x"', ', "max_tokens": ' + "9" * 400)).encode(),
        (MESSAGE % ('"x"', ', "seed": ' + "9" * 5000)).encode(),
        (MESSAGE % ('"x"', ', "n": ' + "[" * 150 + "]" * 150)).encode(),
        (MESSAGE % ('"\\ud800"', "")).encode(),
        (MESSAGE % ('"x"', ', "tools": [{"type": "function", "function": {}}]')).encode(),
        (MESSAGE % ('"x"', ', "stop": [[[]]]')).encode(),
        json.dumps({"model": "chat", "messages": [{"role": "user", "content": "x"}]}).encode(
            "utf-16"
        ),
    ],
    ids=range(17),
)
def test_bodies_that_are_no_request(client, body):
    assert_clean(client.post(CHAT, content=body), 400)


@pytest.mark.parametrize("depth", [50, 150, 190])
@pytest.mark.parametrize("where", ["content", "tools", "format", "inputs"])
def test_nesting_is_answered_or_refused(client, depth, where):
    nested = "[" * depth + "]" * depth
    part = f'[{{"type": "text", "text": "x", "more": {nested}}}]'
    tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {{"a": {nested}}}}}}}'
    schema = '{"not": ' * depth + "{}" + "}" * depth
    formed = f'{{"type": "json_schema", "json_schema": {{"name": "f", "schema": {schema}}}}}'
    bodies = {
        "content": MESSAGE % (part, ""),
        "tools": MESSAGE % ('"x"', f', "tools": [{tool}]'),
        "format": MESSAGE % ('"x"', f', "response_format": {formed}'),
        "inputs": f'{{"inputs": {{"question": {nested}}}}}',
    }
    path = "/v1/mux/program" if where == "inputs" else CHAT
    reply = client.post(path, content=bodies[where])
    if reply.status_code != 200:
        # No member gives JSON, so a format may also end without an answer.
        assert_clean(reply, 503 if where == "format" and reply.status_code == 503 else 400)


@pytest.mark.parametrize("text", ["a\0b", "\u202e\u2066", "\U0001f600", "é" * 9000, "\r\nX: 1"])
def test_any_text_is_answered(client, text):
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]})
    assert client.post(CHAT, content=body).status_code == 200


@pytest.mark.parametrize("name", ["\r\nX-Injected: 1", "a\0b", "../../etc/passwd", "é", "x" * 9000])
def test_names_do_not_reach_headers_or_files(client, name):
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]})
    reply = client.post(CHAT, content=body)
    assert_clean(reply, 404)
    assert "x-injected" not in reply.headers
    assert len(reply.text) < 2000


def test_a_body_that_is_too_large_is_refused_once_it_was_sent(port):
    # A connection that is reset would hide the answer from a client that still sends.
    body = b'"' + b"a" * 20 * MOST + b'"'
    told = head("POST", CHAT, "Content-Type: application/json", f"Content-Length: {len(body)}")
    reply = raw(port, told, body)
    assert status(reply) == 413
    assert str(MOST) in reply


def test_a_chunked_body_that_is_too_large_is_refused(port):
    told = head("POST", CHAT, "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunks = [b"%x\r\n%b\r\n" % (MOST // 2, b"a" * (MOST // 2))] * 4
    assert status(raw(port, told, *chunks, b"0\r\n\r\n")) == 413


def test_a_body_announced_but_not_wanted_is_not_waited_for(port):
    told = head(
        "POST",
        CHAT,
        "Content-Type: application/json",
        f"Content-Length: {10**12}",
        "Expect: 100-continue",
    )
    assert status(raw(port, told)) == 413


def test_a_body_that_no_endpoint_reads_is_not_kept(port):
    told = head("GET", "/healthz", f"Content-Length: {20 * MOST}")
    assert status(raw(port, told, b"a" * 20 * MOST)) == 200


def test_a_slow_body_is_given_up(port):
    told = head("POST", CHAT, "Content-Type: application/json", "Content-Length: 100")
    assert status(raw(port, told, b"{")) == 408


def test_slow_headers_are_given_up(monkeypatch, port):
    from dspy_mux.serve.listen import PatientProtocol

    monkeypatch.setattr(PatientProtocol, "headers_timeout", 0.5)
    slow = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(100)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    # Others are answered meanwhile.
    assert status(raw(port, head("GET", "/healthz"))) == 200
    for connection in slow:
        assert connection.recv(1000) in (b"",) or b"400" in connection.recv(1000)
        connection.close()


def test_connections_without_a_request_make_room_for_others(monkeypatch, port):
    monkeypatch.setattr("dspy_mux.serve.listen.most_connections", lambda: 20)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(60)]
    assert status(raw(port, head("GET", "/healthz"))) == 200
    assert idle[0].recv(1) == b""
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "é", "\x7f" * 5000])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/mux", "/metrics", CHAT])
def test_wrong_keys(port, key, path):
    method = "POST" if path == CHAT else "GET"
    reply = raw(
        port,
        head(
            method,
            path,
            f"Key: {key}",
            f"Authorization: Bearer {key}",
            "Content-Type: application/json",
            "Content-Length: 2",
        ).replace(f"Authorization: Bearer {KEY}\r\n".encode(), b""),
        b"{}",
    )
    assert status(reply) == 401
    assert KEY not in reply
    assert not key or key == "wrong" or key not in reply.partition("\r\n\r\n")[2]


def test_strangers_fill_no_memory(port):
    # Without a key, what is sent is thrown away: it is refused however long it takes to come.
    told = head("POST", CHAT, "Authorization: Bearer wrong", "Content-Type: application/json")
    told = told.replace(f"Authorization: Bearer {KEY}\r\n".encode(), b"")
    told = told[:-2] + f"Content-Length: {MOST}\r\n\r\n".encode()
    assert status(raw(port, told, b"a" * MOST)) == 401


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Host: evil.example", 403),
        ("Host: localhost.evil.example", 403),
        ("Host: 127.0.0.1.nip.io:80", 403),
        ("Host: localhost:9999", 200),
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://localhost", 200),
        ("Content-Length: -1", 400),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("X-A: b\r\n c\0d", 400),
    ],
)
def test_headers(port, header, code):
    assert status(raw(port, head("GET", "/v1/models", header))) == code


def test_headers_without_end_are_cut_off(port):
    endless = b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 50_000_000
    with (
        closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection,
        pytest.raises(OSError, match="reset|pipe"),
    ):
        connection.sendall(endless)
    assert status(raw(port, head("GET", "/healthz"))) == 200


def test_pages_of_strangers_cannot_send_a_form(port):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        told = head("POST", CHAT, f"Content-Type: {kind}", "Content-Length: 2")
        assert status(raw(port, told, b"{}")) == 415


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\xa5\r\n\r\n", b"\0" * 99 + b"\r\n\r\n"])
def test_what_is_not_http(port, data):
    assert status(raw(port, data)) == 400


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_hang_up_hold_no_place(client, port, stream):
    more = f', "stream": {str(stream).lower()}'
    body = (MESSAGE.replace('"chat"', '"slow"') % ('"x"', more)).encode()
    told = head(
        "POST", CHAT, "Content-Type: application/json", f"Content-Length: {len(body)}"
    ).replace(b"Connection: close\r\n", b"")
    for _ in range(30):  # more than there are places
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(told + body)
    # Some may be taken up only now.
    until(lambda: client.post(CHAT, content=MESSAGE % ('"Hello"', "")).status_code == 200)
    until(lambda: "mux_questions_under_way 0.0" in client.get("/metrics").text)


def test_more_questions_than_places_are_refused_at_once(client, port):
    body = (MESSAGE.replace('"chat"', '"slow"') % ('"x"', "")).encode()
    told = head("POST", CHAT, "Content-Type: application/json", f"Content-Length: {len(body)}")
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in held:
        connection.sendall(told + body)
    until(lambda: "mux_questions_under_way 8.0" in client.get("/metrics").text)
    reply = client.post(CHAT, content=MESSAGE % ('"x"', ""))
    assert_clean(reply, 429)
    assert int(reply.headers["retry-after"]) >= 1
    for connection in held:
        connection.close()
    until(lambda: "mux_questions_under_way 0.0" in client.get("/metrics").text)


def test_a_client_that_does_not_read_its_stream_harms_nobody(client, port):
    body = (MESSAGE % ('"x"', ', "stream": true')).encode()
    told = head("POST", CHAT, "Content-Type: application/json", f"Content-Length: {len(body)}")
    deaf = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in deaf:
        connection.sendall(told + body)
    began = time.monotonic()
    until(lambda: client.post(CHAT, content=MESSAGE % ('"y"', "")).status_code == 200)
    assert time.monotonic() - began < 30
    for connection in deaf:
        connection.close()


FEW_FILES = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from dspy_mux.serve.listen import allow_files, most_connections
assert most_connections() == 128
allow_files()
print(most_connections() * 2, min(hard, 65536) if hard > 0 else 65536)
"""


def test_a_server_opens_as_many_files_as_it_may():
    # The usual 1,024 would not do for 256 clients: a question has a connection to each member too.
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    allowed, may = done.stdout.split()
    assert allowed == may


class Odd(dspy.Module):
    """Says what JSON cannot hold."""

    def forward(self, question):
        return dspy.Prediction(answer="half \ud83d", ratio=float("nan"))


def test_what_json_cannot_hold_is_told_all_the_same():
    mux = SLMMux(Odd(), {"a": scripted_lm("a", ["42"])}, k=1)
    with served({"odd": mux}, ServeSettings()) as url, httpx.Client(base_url=url) as client:
        told = client.post("/v1/mux/odd", json={"inputs": {"question": "?"}}).json()
        assert told["outputs"] == {"answer": "half \ufffd", "ratio": "NaN"}
        asked = json.loads(MESSAGE.replace("chat", "odd") % ('"?"', ""))
        whole = client.post(CHAT, json=asked).json()
        assert whole["choices"][0]["message"]["content"] == "half \ufffd"
        events = client.post("/v1/mux/odd", json={"inputs": {"question": "?"}, "stream": True})
        assert '"ratio": "NaN"' in events.text
        assert "half \\ufffd" in events.text
        assert events.text.isascii()  # some clients end a line at U+2028 too


def test_a_mistake_of_the_servers_is_a_clean_error_that_is_not_asked_again(monkeypatch):
    mux = SLMMux(dspy.Predict("question -> answer"), {"a": scripted_lm("a", ["42"])}, k=1)
    monkeypatch.setattr("dspy_mux.serve.answer.Answer.body", lambda self: 1 / 0)
    with served({"m": mux}, ServeSettings()) as url:
        reply = httpx.post(f"{url}/v1/mux/m", json={"inputs": {"question": "?"}})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert reply.headers["x-should-retry"] == "false"


def test_a_long_name_of_a_field_is_not_sent_back(client):
    reply = client.post(CHAT, content=MESSAGE % ('"Hi"', ', "%s": 1' % (50_000 * "z")))
    assert reply.status_code == 400
    assert len(reply.content) < 1000
