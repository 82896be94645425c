"""What `dspy-mux serve` refuses before it listens."""

from __future__ import annotations

import inspect
import socket
import subprocess
import sys

import pytest

from dspy_mux.cli.serve import serve
from dspy_mux.cli.start.servers import USUAL_PORTS

POOL = """
[[members]]
name = "a"
model = "openai/a"
api_base = "http://127.0.0.1:1/v1"
api_key_env = "MEMBER_KEY"
"""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMBER_KEY", "none")
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "serve needs something to serve"),
        (["--pool", "POOL", "--host", "0.0.0.0"], "ask for a key with --api-key-env"),
        (["--pool", "POOL", "--api-key-env", "NONE_SUCH"], "'NONE_SUCH'"),
        (["--pool", "none.toml"], "There is no pool file"),
        (["--mux", "a=x.json", "--mux", "a=y.json"], "Two muxes are called 'a'"),
        (["--mux", "x.json", "--mux", "y.json", "--name", "z"], "--name is for one mux"),
        (["--pool", "POOL", "--name", "a b"], "cannot be a model's name"),
        (["--pool", "POOL", "--max-cost-per-key", "1"], "needs keys"),
        (["--pool", "POOL", "--deadline", "0"], "deadline must be a number above 0"),
    ],
)
def test_mistakes_are_one_line(pool, refused, options, said):
    assert said in refused("serve", *(pool if option == "POOL" else option for option in options))


def test_an_address_of_another_machine_is_named(pool, dspy_mux):
    code, _, err = dspy_mux("serve", "--pool", pool, "--host", "192.0.2.1", "--no-auth")
    assert code == 1
    assert "cannot listen on 192.0.2.1:8900 (Cannot assign requested address): choose" in err


def test_init_looks_where_muxes_are_served():
    port = inspect.signature(serve).parameters["port"].default
    assert USUAL_PORTS["dspy-mux"] == port
    assert list(USUAL_PORTS.values()).count(port) == 1


def test_a_port_that_is_taken_is_named_in_one_sentence(pool):
    """In a process of its own: what loggers print by themselves is in no handler of pytest's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "dspy_mux", "serve", "--pool", str(pool), "--port", port],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"dspy-mux: The server cannot listen on 127.0.0.1:{port}, where something listens: choose "
        "another --port, or end what listens there.\n"
    )


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client", "jsonschema"])
def test_a_missing_extra_is_named(pool, refused, monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("dspy_mux.serve.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert (
        f"Serving a mux needs {package}, which is not installed: pip install 'dspy-mux[serve]'."
        in refused("serve", "--pool", pool)
    )
