"""Progress: what people see on a terminal and in a notebook, and that it is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.terminals import OnTerminal, script
from valuestore import Repository
from valuestore.db.ids import now
from valuestore.progress import Progress
from valuestore.scheduler.record import Counts, Execution

thorough = pytest.mark.thorough

PIPELINE = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from valuestore import Scheduler, task

@task
def load(n, seconds=0.1):
    time.sleep(seconds)
    return n

@task
def fit(n):
    time.sleep(0.1)
    return n

@task
def talk(n):
    print("said", n)
    sys.stdout.write("half of ")
    sys.stdout.flush()
    time.sleep(0.8)
    sys.stdout.writelines(["a line\\n"])
    print("and to stderr", file=sys.stderr)
    return n

@task
def forked(n):
    time.sleep(0.4)
    child = os.fork()
    if child == 0:
        print("from a child")
        sys.stdout.flush()
        os._exit(0)
    return os.waitpid(child, 0)[1]

@task
def wrong(n):
    raise KeyError(n)

def run(call, progress=True, workers=2, **how):
    with Scheduler("r", workers=workers, progress=progress) as scheduler:
        value = scheduler.run(call, **how)
    assert scheduler.execution.progress is None  # which would keep all jobs
    return value
"""


@pytest.fixture
def on_terminal(tmp_path):
    """Runs a script of the pipeline and some more lines there; all are ended."""
    opened = []

    def start(lines, **how):
        file = script(tmp_path, f"{PIPELINE}\n{lines}\n")
        opened.append(OnTerminal([sys.executable, str(file)], tmp_path, **how))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        terminal.hang_up()


def numbers(frames, word):
    return [int(number) for frame in frames for number in re.findall(rf"(\d+) {word}", frame)]


def test_people_see_what_runs_and_by_task_what_ended_and_nothing_is_left(on_terminal):
    terminal = on_terminal("print('before')\nprint(sum(run([fit(load(n)) for n in range(10)])), 'after')")
    assert terminal.ended() == 0
    assert terminal.text == "before\n45 after"
    shown = "\n".join(terminal.frames)
    assert re.search(r"\d running .*\d done .*\d waiting  \d+ s", shown)
    assert re.search(r"script\.load +2 running", shown)
    assert re.search(r"script\.fit +.*\d done +0\.\d+ s each", shown)
    assert max(numbers(terminal.frames, "running")) == 2  # what is queued does not run
    assert b"\x1b[?25l" not in terminal.raw  # whatever happens, the cursor is there


def test_short_runs_show_nothing_unless_it_is_asked_for(on_terminal):
    terminal = on_terminal("run(load(1, 0.3), progress=None)\nprint('done')")
    assert terminal.ended() == 0
    assert terminal.raw == b"done\r\n"


@pytest.mark.parametrize(
    ("lines", "environment"),
    [
        pytest.param("run(load(1), progress=False)", {}, marks=thorough),
        ("run(load(1), progress=None)", {"VALUESTORE_PROGRESS": "false"}),
        pytest.param("run(load(1))", {"TERM": "dumb"}, marks=thorough),
        pytest.param("Scheduler('r', progress=True).submit(load(1)).result()", {}, marks=thorough),
    ],
)
def test_where_it_is_off_nothing_is_written(on_terminal, lines, environment):
    terminal = on_terminal(lines, **environment)
    assert terminal.ended() == 0
    assert terminal.raw == b""


@thorough
def test_the_setting_switches_it_on_from_the_beginning(on_terminal):
    terminal = on_terminal("run(load(1, 0.9), progress=None)", VALUESTORE_PROGRESS="true")
    assert terminal.ended() == 0
    assert "1 running" in "\n".join(terminal.frames)


def test_what_bodies_write_stands_where_it_would_without(on_terminal):
    terminal = on_terminal("print('no line end: ', end='')\nrun([talk(1)])\nprint('end')")
    assert terminal.ended() == 0
    assert terminal.text == "no line end: said 1\nhalf of a line\nand to stderr\nend"
    assert any("half of\n" in frame and "1 running" in frame for frame in terminal.frames)


@thorough
def test_what_others_write_to_the_terminal_is_not_lost(on_terminal):
    lines = "@task\ndef low(): time.sleep(0.5); os.write(1, b'from below\\n'); time.sleep(0.5)\nrun(low())"
    terminal = on_terminal(lines)
    assert terminal.ended() == 0
    assert "from below" in terminal.text
    assert "running" not in terminal.text


@thorough
def test_at_the_foot_of_the_screen_it_scrolls_and_keeps_what_is_above(on_terminal):
    terminal = on_terminal("print(*range(20), sep='\\n')\nrun([load(n) for n in range(8)])", rows=10)
    assert terminal.ended() == 0
    assert terminal.text.split()[-3:] == ["17", "18", "19"]
    assert "running" not in terminal.text


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(20, 24), *(pytest.param(*size, marks=thorough) for size in [(8, 3), (3, 2), (0, 0)])],
)
def test_narrow_terminals_get_what_fits(on_terminal, columns, rows):
    terminal = on_terminal("run([load(n) for n in range(8)])\nprint('x')", columns=columns, rows=rows)
    assert terminal.ended() == 0
    assert terminal.text == "x"
    assert all(len(line) <= columns for line in some_progress().lines(columns, 8))


@thorough
def test_without_colours_where_they_are_not_wanted(on_terminal):
    terminal = on_terminal("run(load(1, 0.5))", NO_COLOR="1")
    assert terminal.ended() == 0
    assert b"1 running" in terminal.raw
    assert not re.search(rb"\x1b\[[\d;]*m", terminal.raw)
    coloured = on_terminal("run(load(2, 0.5))")
    coloured.ended()
    assert b"\x1b[33m1 running" in coloured.raw


@thorough
def test_an_error_leaves_the_terminal_as_it_was(on_terminal):
    terminal = on_terminal("run([load(1), wrong(2)])")
    assert terminal.ended() == 1
    assert "KeyError: 2" in terminal.text
    assert "running" not in terminal.text


def test_after_an_interrupt_too(on_terminal):
    terminal = on_terminal("run([load(n, 0.6) for n in range(4)])")
    terminal.read_until(lambda text: "2 running" in text)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ended() != 0
    assert "KeyboardInterrupt" in terminal.text
    assert "2 running" not in terminal.text


@thorough
def test_a_terminal_that_goes_away_ends_no_run(on_terminal, tmp_path):
    lines = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    terminal = on_terminal(f"{lines}run([load(n) for n in range(12)])")
    terminal.read_until(lambda text: "2 running" in text)
    terminal.hang_up()
    terminal.process.wait(60)
    with Repository.open(tmp_path / "r") as repository:
        [execution] = repository.history.executions()
    assert (execution.status, execution.executed) == ("done", 12)


@thorough
def test_a_child_of_a_body_writes_without_waiting_for_the_display(on_terminal):
    terminal = on_terminal("print(run([forked(n) for n in range(4)]))")
    assert terminal.ended() == 0
    assert terminal.text.count("from a child") == 4


@thorough
def test_of_several_runs_at_once_one_is_shown(on_terminal):
    lines = """
others = Scheduler("r", progress=True)
submitted = [others.submit(fit(n)) for n in range(4)]
run([load(n) for n in range(6)])
print([one.result() for one in submitted])
"""
    terminal = on_terminal(lines)
    assert terminal.ended() == 0
    assert "script.fit" not in "\n".join(terminal.frames)
    assert terminal.text == "[0, 1, 2, 3]"


@thorough
def test_what_it_does_is_by_the_second_not_by_the_job(on_terminal):
    lines = """
from valuestore.progress import Progress

@task
def tiny(n):
    return n

times = {"lines": 0, "ended": 0}
def counting(name):
    method = getattr(Progress, name)
    def counted(*args, **how):
        times[name] += 1
        return method(*args, **how)
    setattr(Progress, name, counted)
counting("lines"), counting("ended")
began = time.monotonic()
run([tiny(n) for n in range(5000)])
seconds = time.monotonic() - began
assert 1 <= times["lines"] <= 2 + seconds / 0.25, (times, seconds)
assert 1 <= times["ended"] <= 250, times
assert "rich" not in sys.modules
print("right")
"""
    terminal = on_terminal(lines)
    assert terminal.ended() == 0
    assert terminal.text == "right"


# --- what is said


def some_progress(unfinished=(("a.task0", 4),), callers=()):
    execution = Execution("", started=now() - 90_000_000, counts=Counts(done=78, cached=3, failed=1))
    asked = Counter({"a.task0": 2}), Counter(dict(unfinished)), set(callers)
    progress = Progress(execution, lambda: asked)
    for number in range(12):
        progress.counts[f"a.task{number}", "done"] = number + 1
        progress.took[f"a.task{number}"] = 2_000_000 * (number + 1)
    return progress


def test_the_busiest_tasks_have_a_line_and_the_rest_are_summed_up():
    first, *tasks = some_progress().lines(120, 8)
    assert first == "2 running  78 done  3 cached  1 failed  2 waiting  1 min 30 s  3 s left"
    assert [line.split()[0] for line in tasks] == [
        *("a.task0", "a.task11", "a.task10", "a.task9", "a.task8", "a.task7", "a.task6"),
        "5",
    ]
    assert tasks[0] == "a.task0   2 running  1 done  2 s each"
    assert tasks[-1] == "5 more    20 done  2 s each"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "3 s left"),
        ({"unfinished": [("a.task0", 4), ("a.new", 1)]}, "at least 3 s left"),
        ({"unfinished": [("a.new", 100)]}, None),
        ({"callers": ["a.task0"]}, None),
        ({"unfinished": []}, None),
        ({"unfinished": [("a.task0", 7201)]}, "2 h 0 min left"),
    ],
)
def test_what_time_is_left_is_said_as_far_as_it_is_known(changed, said):
    first = some_progress(**changed).lines(120, 0)[0]
    assert first.endswith(f"  {said}") if said else "left" not in first


def test_wide_and_unprintable_names_take_the_columns_that_they_take():
    progress = Progress(Execution(""), lambda: (Counter(), Counter(), set()))
    progress.counts["模块.任务\x1b[2J", "done"] = 1
    _, line = progress.lines(8, 8)
    assert line == "模块.任"


# --- in a notebook


NOTEBOOK = """
import json, sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(extra_arguments=["--HistoryManager.enabled=False"])
told = []
try:
    for code in sys.argv[1:]:
        reply = client.execute_interactive(code, timeout=60, output_hook=told.append)
        assert reply["content"]["status"] == "ok", reply["content"]
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
shown = [(one["msg_type"], one["content"]) for one in told if "display" in one["msg_type"]]
print(json.dumps([(kind, one["data"]["text/plain"], one["transient"]["display_id"]) for kind, one in shown]))
"""


@thorough
def test_in_a_notebook_it_is_shown_below_the_cell(tmp_path):
    (tmp_path / "client.py").write_text(NOTEBOOK)
    calls = "run([load(n) for n in range(8)]"
    cells = [PIPELINE, f"{calls})", f"{calls}, progress=None)"]
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "client.py", *cells],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    (first, text, place), *updates = json.loads(told)
    assert first == "display_data"
    assert "2 running" in text
    assert {(kind, where) for kind, _, where in updates} == {("update_display_data", place)}
    assert re.match(r"8 done  \d s", updates[-1][1])
    assert "running" not in updates[-1][1]
