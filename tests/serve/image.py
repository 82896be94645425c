"""Build the image's steps in a clean folder, start its command and ask it, without an engine.

    python -m tests.serve.image

Takes minutes: it installs what the Dockerfile installs. The machine's own files are read-only to
its steps, and they run as the image's user. Requires bubblewrap.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from ..support.dockerfile import Instruction, Sandbox, copy, instructions, last
from ..support.fault_server import fault_server

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-the-environment"
POOL = """
k = 2
[[members]]
model = "openai/small"
api_base = "{address}"
"""


def main() -> None:
    found = instructions(ROOT / "examples" / "serve" / "Dockerfile")
    with tempfile.TemporaryDirectory() as folder:
        places = ["/src", "/opt/mux", "/etc/dspy-mux", "/home/mux", "/image"]
        sandbox = Sandbox(Path(folder), places)
        # The image's `python`; here it has another place.
        (sandbox.path("/image") / "python").symlink_to(Path(sys.executable).resolve())
        _build(found, sandbox)
        with fault_server(lambda _: None) as server:
            pool = sandbox.path("/etc/dspy-mux/pool.toml")
            pool.write_text(POOL.format(address=server.address), encoding="utf-8")
            _serve(found, sandbox)


def _build(found: list[Instruction], sandbox: Sandbox) -> None:
    """Run the steps, each as Docker would."""
    environment = {**os.environ, "PATH": f"/image:{os.environ['PATH']}", "HOME": "/home/mux"}
    for step in found:
        if step.name == "RUN" and "useradd" not in step.rest:  # whose user bubblewrap provides
            print("RUN", step.rest, flush=True)
            code = sandbox.run("sh", "-c", step.rest, env=environment).wait()
            if code:
                raise SystemExit(f"The step fails with {code}.")
        elif step.name == "COPY" and not step.rest.startswith("--from"):
            print("COPY", step.rest, flush=True)
            copy(ROOT, step, sandbox)


def _serve(found: list[Instruction], sandbox: Sandbox) -> None:
    command = [*last(found, "ENTRYPOINT").words, *last(found, "CMD").words]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command[command.index("8900")] = str(port)
    environment = {"PATH": "/opt/mux/bin:/usr/bin:/bin", "HOME": "/home/mux", "MUX_API_KEY": KEY}
    uid = int(last(found, "USER").rest)
    print(*command, flush=True)
    served = sandbox.run(*command, uid=uid, env=environment)
    try:
        health = [part.replace(":8900", f":{port}") for part in last(found, "HEALTHCHECK").words]
        _wait(served, lambda: sandbox.run(*health, env=environment, stderr=-3).wait() == 0)
        answer = _ask(port)
        assert answer["choices"][0]["message"]["content"], answer
        print("It answers", answer["choices"][0]["message"]["content"])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert b"<title>dspy-mux</title>" in page.read()
    finally:
        # Of a container's first process, which is bubblewrap's child here.
        [child] = Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        code = served.wait(60)
    print("It stops with", code)
    if code:
        raise SystemExit("The server does not end as it should.")


def _wait(served: subprocess.Popen[bytes], ready: object) -> None:
    deadline = time.monotonic() + 120
    while not ready():  # type: ignore[operator]
        if served.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("The server is not ready.")
        time.sleep(0.5)
    print("The health check passes.", flush=True)


def _ask(port: int) -> dict:
    body = {"model": "my-mux", "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
