"""Equal mathematics: canonical text, the process that compares, and hostile expressions."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspy_mux.answers import math_equal, math_worker
from dspy_mux.answers.math_equal import MathWorker, canonical, math_key, same_mathematics

ROOT = Path(__file__).parents[2]


def same(a: str, b: str) -> bool:
    forth, back = (same_mathematics(canonical(x), canonical(y)) for x, y in ((a, b), (b, a)))
    assert forth == back
    return forth


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/2", "0.5"), ("1/2", r"\frac12"), (r"\dfrac{1}{2}", r"\frac{1}{2}"), ("x=3", "3"),
        ("x = 3", "$3$"), (r"\boxed{5}", "5"), ("1 4/5", r"1\frac{4}{5}"), (r"10,\!080", "10,080"),
        (r"\$18.90", "18.9"), (".0000672", "6.72e-5"), ("0.333333", "1/3"), ("10^6", "1000000"),
        ("1 000 000", "1,000,000"), (r"90^\circ", "90 degrees"), ("90°", "90"), (r"50\%", "50"),
        (r"864 \mbox{ inches}^2", "864"), ("5 cm", "5"), (r"5.4 \text{ cents}", "5.4"),
        (r"\text{Evelyn}", "evelyn"), (r"\text{(C)}", "C"), ("no solution", "No solution."),
        (r"x \in [-2,7]", "[-2, 7]"), ("y = 2x + 3", "2x+3"), ("x^10", "x^{10}"), ("x**2", "x^2"),
        ("x²", "x^2"), ("sqrt(2)/2", r"\frac{1}{\sqrt{2}}"), ("√2", r"2^(1/2)"),
        (r"3\sqrt2", r"\sqrt{18}"), ("2*pi", "2π"), ("sqrt(3)/(2*sqrt(2))", r"\frac{\sqrt{6}}{4}"),
        ("x^2+1", "1+x^2"), ("6-5i", "-5i+6"), ("3>x", "x<3"), ("(1,2)", "( 1, 2 )"),
        ("[1,2)", "$[1, 2)$"), ("2, 3", "3, 2"), (r"\{1,2\}", "2,1"), ("x=1 or x=2", "1,2"),
        (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"), (r"\frac{20000}{\pi}", "20,000/pi"),
        (r"\cot x", "cot(x)"), ("(-inf,2) U (3,inf)", r"(-\infty, 2) \cup (3, \infty)"),
        ("52_8", "52_{8}"),
        (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{pmatrix}0.2\\-3.6\end{pmatrix}"),
    ],
)  # fmt: skip
def test_the_same(a: str, b: str) -> None:
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("-5", "5"), ("1/2", "12"), ("0.5", r"50\%"), ("0.33", "1/3"), (".0000672", ".0000673"),
        ("1 4/5", "14/5"), ("(1,2)", "(2,1)"), ("(8,-2)", "(9,-3)"), ("(-2,1)", "1,-2"),
        ("[1,2)", "[1,2]"), ("1,2", "1,3"), ("100,200", "100, 200"), ("Evelyn", "Nevely"),
        ("even", "odd"), ("yes", "no"), ("C", "D"), ("x", "y"), ("2x", "2y"), ("x+1", "x+2"),
        ("3x", "3+x"), ("52_8", "52_9"), ("(-2,1)", "-2,1"), (r"\pi", "3.14"), (r"\sqrt{2}", "2"),
        ("__import__('os').getcwd()", "__import__('os').getcwd( )+1"),
    ],
)  # fmt: skip
def test_not_the_same(a: str, b: str) -> None:
    assert not same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\dfrac12", r"\tfrac{1}{2}"), (r"\left( 1,\,2 \right)", "(1,2)"), (r"1{,}000", "1,000"),
        (r"\frac 59", "5/9"), ("15 cm^2", r"15\mbox{ cm}^2"), ("864 sq. in.", "864"),
        (r"5 \text{ m}", "5"), ("60 km/h", "60"), ("5.4¢", "5.4"), ("12π cm", r"12\pi"),
        ("5 million", "5,000,000"), (r"2 \text{ thousand dollars}", "2000"),
        ("10 percent", r"10\%"), (r"\mathbf{\frac{1}{2}}", "1/2"), (r"\boldsymbol{5}", "5"),
        ("{5}", "5"), ("= 5", "5"), ("- 5", "-5"), ("$- x$", "-x"),
        (r"\frac{1}{3} \approx 0.33", "1/3"), (r"x \approx 3.14", "3.14"), ("2+3 = 5", "5"),
        ("x = 2+3 = 5", "5"), (r"\log_2 8 = 3", "3"), ("(x, y) = (2, 4)", "(2,4)"),
        (r"(r,\theta) = (3, \pi)", r"(3,\pi)"), ("an ellipse", r"\text{ellipse}"),
        (r"\textbf{(C)}\ 5", "C"), ("(C) 5", r"\text{(C)}"), ("C. an ellipse", "C"), ("(c)", "(C)"),
        ("52 base 8", "52_8"), (r"52 \text{ (base 8)}", "52_{8}"), (r"52_{\text{eight}}", "52_8"),
        ("(52)_8", "52_8"), (r"-2 \le x \le 7", "[-2,7]"), (r"3 < x \leqslant 4", "(3,4]"),
        ("x > 2", r"(2,\infty)"), (r"x \ge 2", r"[2,\infty)"), ("2 <= x", r"[2,\infty)"),
        (r"x \le 0", r"(-\infty,0]"), ("0 > x", r"(-\infty,0)"), (r"1.\overline{3}", "4/3"),
        (r"0.1\overline{6}", "1/6"), (r"\emptyset", r"\varnothing"),
        (r"\begin{pmatrix} 1 \\[4pt] 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        ("{5 \\choose 2}", "10"), (r"\{1\pm\sqrt{5},-2\}", r"-2, 1+\sqrt5, 1-\sqrt5"),
        ("3, 5, and 7", "7, 3, 5"), ("x = 3, x = 5", "5, 3"),
    ],
)  # fmt: skip
def test_the_same_in_the_writing_of_models(a: str, b: str) -> None:
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("(0,1]", "[0,1]"), ("[0,1)", "(0,1)"), ("(0,1]", "(0,1)"), ("(0,1]", "[0,1)"),
        ("(0,1]", "0,1"), ("[0,1]", "[1,0]"), (r"(2,\infty)", r"[2,\infty)"),
        (r"(2,\infty)", r"x \ge 2"), ("-5 < x < 5", r"-5 \le x \le 5"), ("x > 5", "5"),
        ("x < 5", "x > 5"), (r"(0,9) \cup (9,36)", "(0,36)"),
        (r"(-\infty, 2) \cup (3, \infty)", r"(-\infty, 3) \cup (2, \infty)"),
        ("(100,200)", "100200"), ("1,23", "123"), ("(1,000)", "1"), ("2220", "2,22"),
        ("(1,2), (3,4)", "(1,3), (2,4)"), ("3,5", "3"), ("3,5", "3,5,7"), ("3,5", "3,3,5"),
        (r"1 \pm \sqrt{19}", r"1+\sqrt{19}"), (r"\pm 2", "2"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "1, 2"), ("3R^2", "3r^2"), ("X", "x"),
        ("5x - 7y + 11z + 4 = 0", "0"), ("5x - 7y + 11z + 4 = 0", "5x - 7y + 11z + 4"),
        ("5 million", "5"), ("25 hundredths", "25"), ("2 xyz", "2"), ("at least 5", "5"),
        ("not 5", "5"), ("5 to 7", "5"), ("- 5", "5"), ("$- x$", "x"), ("(A) or (B)", "A"),
        ("52_8", "42_{10}"), ("52 base 8", "52 base 9"), (r"1.\overline{3}", "1.3"), ("5 =", ""),
        (r"5 \approx", ""),
    ],
)  # fmt: skip
def test_not_the_same_in_the_writing_of_models(a: str, b: str) -> None:
    assert not same(a, b)


def test_numbers_have_their_value_as_key() -> None:
    assert math_key("0.50") == math_key(r"\frac{1}{2}") == "1/2"
    assert math_key(" ") == math_key("$$") == ""


@pytest.fixture
def worker() -> Iterator[MathWorker]:
    worker = MathWorker(deadline=1.0)
    yield worker
    worker.close()


@pytest.mark.timeout(60)
def test_a_pair_beyond_the_deadline_stays_different(worker: MathWorker) -> None:
    tower = "9^{9^{9^{9}}}"
    assert worker.same("1+x", "x+1")
    assert not worker.same(tower, "9+" + tower)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worker, "_ask", lambda *pair: pytest.fail(f"{pair} was compared again"))
        assert not worker.same(tower, "9+" + tower)
    assert worker.same("2+x", "x+2")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("9**9**9**9", "9**9**9**8"), ("9^{9^{9^{9}}}", "9^9^9^9"),
        ("{" * 10_000 + "1" + "}" * 10_000, "1"), ("1" * 10**6, "2" * 10**6),
        ("999999999!", "999999998!"), ("\0", "5"), ("\ud800", "\ud801"), ("\u202e5", "6"),
        ("(" * 900, ")" * 900), (r"\frac{" * 150, r"\frac{" * 151), ("\\text{", "\\text{}"),
        ("}{", "{}{"), (r"\int_0^{9^{99999}} e^{x^x} dx", r"\sum_{n=1}^{10^{99}} n^n"),
    ],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_hostile_expressions_end(a: str, b: str) -> None:
    same(a, b)


def test_threads_take_turns(worker: MathWorker) -> None:
    verdicts: dict[int, bool] = {}

    def compare(n: int) -> None:
        verdicts[n] = worker.same(f"{n}+x", f"x+{n}") and not worker.same(f"{n}+x", f"x+{n + 1}")

    threads = [threading.Thread(target=compare, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert verdicts == dict.fromkeys(range(8), True)


def test_a_worker_that_dies_is_replaced(worker: MathWorker) -> None:
    assert worker.same("1+x", "x+1")
    process = worker._process
    assert process is not None
    process.kill()
    process.wait()
    assert worker.same("3+x", "x+3")


def test_a_worker_that_cannot_start_is_reported(
    worker: MathWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(math_equal.sys, "executable", "/nowhere/python")
    assert not worker.same("1+x", "x+1")
    assert "cannot be started" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_worker_of_its_own() -> None:
    assert same("5+x", "x+5")
    parents = math_equal._worker._process
    child = os.fork()
    if child == 0:
        fine = (
            same_mathematics(canonical("6+x"), canonical("x+6"))
            and math_equal._worker._process is not parents
        )
        math_equal._worker.close()
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parents is not None
    assert parents.poll() is None
    assert same("7+x", "x+7")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("ending", [None, signal.SIGINT, signal.SIGKILL])
def test_no_worker_is_left_behind(ending: signal.Signals | None) -> None:
    program = textwrap.dedent(
        """
        import time
        from dspy_mux.answers import math_equal
        assert math_equal.same_mathematics("1+x", "x+1")
        print(math_equal._worker._process.pid, flush=True)
        """
    ) + ("time.sleep(60)" if ending else "")
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    if ending:
        parent.send_signal(ending)
    parent.wait(30)
    parent.stdout.close()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if (
            Path(f"/proc/{worker}/stat").exists()
            and ") Z " in Path(f"/proc/{worker}/stat").read_text()
        ):
            return  # ended; nobody has reaped it yet
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


@pytest.mark.parametrize(
    ("event", "arguments", "refused"),
    [
        ("compile", (b"1+1", "<string>"), True), ("compile", (None, "<stdin>"), False),
        ("compile", (b"x", "/a/b.py"), False), ("open", ("/tmp/x", "w", 0), True),
        ("open", ("/tmp/x", "r", 0), False), ("subprocess.Popen", (), True),
        ("open", ("/tmp/x", None, os.O_WRONLY | os.O_CREAT), True),
        ("open", ("/tmp/x", None, os.O_RDONLY), False), ("open", ("/tmp/x", "r", os.O_RDWR), True),
        ("os.truncate", (), True), ("os.mkdir", (), True), ("os.kill", (), True),
        ("ctypes.dlopen", (), True), ("os.listdir", (), False), ("os.remove", (), True),
        ("socket.connect", (), True), ("import", ("os",), False),
    ],
)  # fmt: skip
def test_what_the_worker_may_not_do(
    event: str, arguments: tuple[object, ...], refused: bool
) -> None:
    if refused:
        with pytest.raises(RuntimeError, match="refused"):
            math_worker.contain(event, arguments)
    else:
        math_worker.contain(event, arguments)


@pytest.mark.skipif(os.name != "posix", reason="what it may not do is POSIX")
def test_a_contained_process_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("answer = 42")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    program = textwrap.dedent(
        """
        import ctypes, os, runpy, shutil, signal, socket, sqlite3, subprocess, sys, tempfile

        runpy.run_path(sys.argv[1])["contain_from_now_on"]()
        for attempt in (
            lambda: open("new", "w"), lambda: open("kept", "a"), lambda: open("kept", "r+b"),
            lambda: os.open("kept", os.O_RDWR),
            lambda: os.open("new", os.O_CREAT | os.O_WRONLY), lambda: os.open("kept", os.O_TRUNC),
            lambda: os.truncate("kept", 0),
            lambda: os.mkdir("new"), lambda: os.rmdir("empty"), lambda: os.remove("kept"),
            lambda: os.rename("kept", "new"),
            lambda: os.link("kept", "new"), lambda: os.symlink("kept", "new"),
            lambda: os.chmod("kept", 0o777),
            lambda: os.utime("kept", (0, 0)), lambda: os.kill(os.getpid(), signal.SIGTERM),
            lambda: os.system("touch new"),
            lambda: os.fork(), lambda: subprocess.run(["touch", "new"]),
            lambda: os.execv("/bin/touch", ["touch", "new"]),
            lambda: ctypes.CDLL(None), lambda: ctypes.string_at(0), lambda: socket.socket(),
            lambda: sqlite3.connect("new"),
            lambda: shutil.copy("kept", "new"), lambda: tempfile.mkdtemp(dir="."),
            lambda: compile("1", "<string>", "eval"),
        ):
            try:
                attempt()
            except RuntimeError as error:
                assert "is refused while" in str(error), error
            else:
                sys.exit("not refused")
        import late
        assert (late.answer, open("kept").read()) == (42, "kept")
        """,
    )
    command = [sys.executable, "-c", program, math_worker.__file__]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_worker_gets_no_keys(worker: MathWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODYS_API_KEY", "sk-fake-A1b2C3d4E5f6G7h8")
    assert worker.same("1+x", "x+1")
    assert worker._process is not None
    environment = Path(f"/proc/{worker._process.pid}/environ").read_text().split("\0")
    assert "sk-fake" not in str(environment)
    assert f"PATH={os.environ['PATH']}" in environment


def test_sympy_is_not_imported_here() -> None:
    program = (
        "import sys, dspy_mux.answers.choose; assert not {'sympy', 'math_verify'} & "
        "set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_nothing_here_evaluates(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("model text was evaluated")

    monkeypatch.setattr(builtins, "eval", refuse)
    monkeypatch.setattr(builtins, "exec", refuse)
    same("__import__('os').system('true')", "1")
    assert same("1/3+x", "x+1/3")
