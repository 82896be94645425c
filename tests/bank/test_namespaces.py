"""Two collections in process namespaces of their own, as in two containers of one host name: each
is process 1 or 2 there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dspy_mux import SampleBank

from ..support.wait import PATIENCE_S

SCRIPT = """
import os, socket, sys
import dspy
from dspy_mux import SampleBank, collect
from tests.support.skilled import a_member, a_mux, calls, metric, questions

dspy.configure_cache(enable_disk_cache=False)
mux = a_mux(a_member("a", latency=0.01), a_member("b", latency=0.01))
print(socket.gethostname(), os.getpid(), flush=True)
sys.stdin.readline()
done = collect(mux, questions(60), metric, SampleBank(sys.argv[1]), num_threads=4)
print(sum(calls(mux)))
"""
#: A host name of its own, and numbers of its own for processes.
BWRAP = ["--dev-bind", "/", "/", "--unshare-pid", "--unshare-uts", "--hostname", "box"]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_collections_in_two_containers_pay_each_draw_once(bank_url, tmp_path):
    script = tmp_path / "one.py"
    script.write_text(SCRIPT)
    command = ["bwrap", *BWRAP, sys.executable, str(script), bank_url]
    both = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    names = [process.stdout.readline() for process in both]
    assert names[0] == names[1]  # host name and process id say nothing
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    spent = [int(process.communicate(timeout=2 * PATIENCE_S)[0]) for process in both]
    assert sum(spent) == 60 * 2 * 3
    bank = SampleBank(bank_url)
    assert bank.record().drawn().tolist() == [[3, 3]] * 60
    bank.close()
