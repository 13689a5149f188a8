"""Replay: a finished call is answered with all below it, exactly where a walk would have given the same.

Random graphs of calls are run, edited (code, arguments, files) and run again, beside a naive evaluator that
walks everything and shares no code with valuestore: results and bodies that ran are equal.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.scripts import Scripts
from valuestore import File, Repository, Scheduler, tag, task

TASKS = 5
FILES = 3
RAN: list[tuple[int, str]] = []
"""The bodies that ran, in a module that no task of a graph names."""


def fail_if_one(level: int, k: int) -> int:
    """What the body of a task may do with its constant."""
    if k == 1:
        raise ValueError(f"{level}:{k}")
    return k


@task(namespace="replay", version="1")
def recover(error: ValueError) -> str:
    RAN.append((-1, repr(str(error))))
    return f"recovered {error}"


# --- what a graph is: for each task what its body returns, as nested tuples


def parts(level: int) -> st.SearchStrategy[Any]:
    """What a body of the task of that level may put into what it returns: calls go to later tasks alone."""
    file = st.tuples(st.just("file"), st.integers(0, FILES - 1))
    fails = st.just(("fail",))
    leaves = st.one_of(st.just(("n",)), st.just(("k",)), st.just(("k",)), fails, fails, file)
    if level >= TASKS - 1:
        return leaves
    calls = st.tuples(st.just("call"), st.integers(level + 1, TASKS - 1), st.sampled_from([0, 1, 1, 2]))
    given_file = st.tuples(st.just("given"), st.integers(level + 1, TASKS - 1), st.integers(0, FILES - 1))
    return st.recursive(
        st.one_of(leaves, calls, calls, calls, given_file, st.tuples(st.just("catch"), calls)),
        lambda inner: st.one_of(
            st.tuples(st.just("list"), st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.tuples(st.just("dict"), inner),
            st.tuples(st.just("twice"), inner),
            st.tuples(st.just("nested"), st.integers(level + 1, TASKS - 1), inner),
            st.tuples(st.just("nested"), st.integers(level + 1, TASKS - 1), inner),
            st.tuples(st.sampled_from(["tagged", "list1", "list1"]), inner),
            st.tuples(st.just("catch"), inner),
            st.tuples(st.just("catch"), inner),
        ),
        max_leaves=4,
    )


@dataclass(frozen=True)
class Graph:
    """Bodies by task, which tasks are cached, and the constant that each body refers to."""

    bodies: tuple[Any, ...]
    cached: tuple[bool, ...]
    constants: tuple[int, ...]

    def edited(self, level: int, constant: int) -> Graph:
        return Graph(
            self.bodies, self.cached, (*self.constants[:level], constant, *self.constants[level + 1 :])
        )

    def toggled(self, level: int) -> Graph:
        cached = (*self.cached[:level], not self.cached[level], *self.cached[level + 1 :])
        return Graph(self.bodies, cached, self.constants)


graphs = st.builds(
    Graph,
    st.tuples(*[parts(level) for level in range(TASKS)]),
    st.tuples(*[st.sampled_from([True] * 19 + [False]) for _ in range(TASKS)]),
    st.tuples(*[st.sampled_from([0, 1, 1, 2]) for _ in range(TASKS)]),
)
edits = st.one_of(
    st.tuples(st.just("code"), st.integers(0, TASKS - 1), st.integers(0, 2)),
    st.tuples(st.just("code"), st.integers(0, TASKS - 1), st.integers(0, 2)),
    st.tuples(st.just("cache"), st.integers(0, TASKS - 1), st.just(0)),
    st.tuples(st.just("file"), st.integers(0, FILES - 1), st.integers(0, 2)),
    st.tuples(st.just("argument"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("nothing"), st.just(0), st.just(0)),
)

# --- the graph as a program of valuestore


def source_of(graph: Graph) -> str:
    lines = [
        "from valuestore import File, catch, tag, task",
        f"from {__name__} import recover",
        "FOLDER = None",
    ]
    for level, body in reversed(list(enumerate(graph.bodies))):
        lines += [
            f"K{level} = {graph.constants[level]}",
            f"@task(namespace='replay', cache={graph.cached[level]})",
            f"def t{level}(n, file=None):",
            f"    __import__('{__name__}', fromlist=['RAN']).RAN.append(({level}, repr(n)))",
            f"    return [{level}, {expression(body, level)}]",
        ]
    return "\n".join(lines) + "\n"


def expression(part: Any, level: int) -> str:
    match part:
        case ("n",):
            return "n if isinstance(n, int) else 'deep'"
        case ("k",):
            return f"K{level}"
        case ("fail",):
            return f"__import__('{__name__}', fromlist=['RAN']).fail_if_one({level}, K{level})"
        case ("catch", inner):
            return f"catch({expression(inner, level)}, ValueError, recover)"
        case ("file", number):
            return f"File(f'{{FOLDER}}/{number}')"
        case ("call", other, plus):
            return f"t{other}(n + {plus} if isinstance(n, int) else {plus})"
        case ("given", other, number):
            return f"t{other}(n if isinstance(n, int) else 7, File(f'{{FOLDER}}/{number}'))"
        case ("list1", inner):
            return f"[{expression(inner, level)}]"
        case ("list", inner):
            return f"[{', '.join(expression(one, level) for one in inner)}]"
        case ("dict", inner):
            return f"{{'a': {expression(inner, level)}}}"
        case ("twice", inner):
            return f"[[one, one] for one in [{expression(inner, level)}]]"
        case ("tagged", inner):
            return f"tag({expression(inner, level)}, job_tags={{'seen': 1}})"
        case ("nested", other, inner):
            return f"t{other}({expression(inner, level)})"
    raise AssertionError(part)


class Program:
    """The module of a graph, imported anew for each version of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = Scheduler(folder / "repository")

    def run(self, graph: Graph, n: int) -> tuple[Any, list[tuple[int, str]]]:
        path = self.folder / "replay_graph.py"
        path.write_text(source_of(graph))
        linecache.checkcache(str(path))
        sys.modules.pop("replay_graph", None)
        importlib.invalidate_caches()
        module: Any = importlib.import_module("replay_graph")
        module.FOLDER = str(self.folder)
        RAN.clear()
        try:
            return self.scheduler.run(module.t0(n)), RAN
        except ValueError as error:
            return f"failed {error}", RAN


# --- the same by a naive evaluator


class Failed(Exception):
    """The error of a body, by its text."""


@dataclass(frozen=True)
class Held:
    """What a finished call or ``catch`` rested on: the tasks and the files below it."""

    tasks: frozenset[tuple[int, Any, bool]]
    files: frozenset[tuple[int, str]]
    replayable: bool


@dataclass
class Naive:
    """Walks everything. ``steps``: what bodies returned, by task, code and arguments.

    What failed runs again, but for what is below a call or a ``catch`` that holds: ``held``.
    """

    folder: Path
    steps: dict[Any, Any] = field(default_factory=dict)
    held: dict[Any, Held] = field(default_factory=dict)

    def run(self, graph: Graph, n: int, level: int = 0) -> tuple[Any, list[tuple[int, str]]]:
        self.graph, self.ran, self.met, self.quiet = graph, [], {}, 0
        self.tagged: list[bool] = []
        self.below: list[tuple[set[Any], set[Any], list[bool]]] = [(set(), set(), [])]
        try:
            return self.call(level, n, None), self.ran
        except Failed as error:
            return f"failed {error}", self.ran

    def content(self, number: int) -> str:
        return (self.folder / str(number)).read_text()

    def call(self, level: int, n: Any, file: int | None) -> Any:
        constant = self.constant(level)
        given = (self.told(n), None if file is None else (file, self.content(file)))
        key = (level, constant, *given)
        files = self.files(self.graph.bodies[level])
        used = [*files, *self.files_told(n), *([] if file is None else [(file, self.content(file))])]
        return self.node(key, lambda: self.body(key, level, n, files), (level, constant), used)

    def node(self, key: Any, walk: Callable[[], Any], own: tuple[int, Any] | None, files: list[Any]) -> Any:
        """What a call or a ``catch`` gives, once in a run; without running if it holds."""
        memo = (key, bool(self.quiet))
        if memo not in self.met:
            is_known = own is None or self.steps.get(key) is not None
            holds = is_known and key in self.held and self.is_current(self.held[key])
            self.quiet += holds
            self.below.append((set(), set(files), []))
            if own is not None:
                self.below[-1][0].add((*own, self.graph.cached[own[0]]))
                self.below[-1][2].append(self.graph.cached[own[0]])
            try:
                outcome = walk(), None
            except Failed as error:
                outcome = None, error
            self.quiet -= holds
            tasks, used, replayable = self.below.pop()
            held = Held(frozenset(tasks), frozenset(used), all(replayable))
            self.met[memo] = outcome, held
            if outcome[1] is None and not self.quiet:
                self.held[key] = held
        (value, error), held = self.met[memo]
        self.below[-1][0].update(held.tasks)
        self.below[-1][1].update(held.files)
        self.below[-1][2].append(held.replayable)
        if error is not None:
            raise error
        return value

    def is_current(self, held: Held) -> bool:
        tasks = ((level, self.constant(level), self.graph.cached[level]) for level, *_ in held.tasks)
        return held.replayable and held.tasks == {*tasks} and all(self.content(f) == c for f, c in held.files)

    def constant(self, level: int) -> Any:
        is_named = "'k'" in repr(self.graph.bodies[level]) or "'fail'" in repr(self.graph.bodies[level])
        return (self.graph.bodies[level], self.graph.constants[level] if is_named else None)

    def body(self, key: Any, level: int, n: Any, files: Any) -> Any:
        known = self.steps.get(key)
        fails = "'fail'" in repr(self.graph.bodies[level]) and self.graph.constants[level] == 1
        if not self.quiet and (not self.graph.cached[level] or known != files or fails):
            self.ran.append((level, repr(n)))
        if fails:
            raise Failed(f"{level}:1")
        if not self.quiet and self.graph.cached[level]:
            self.steps[key] = files
        return [level, self.whole(self.graph.bodies[level], level, n)]

    def whole(self, part: Any, level: int, n: Any) -> Any:
        """What is evaluated at once, when all calls in it are done: then its tags are set, in every run."""
        self.tagged.append(False)
        try:
            value = self.value(part, level, n)
        except Failed:
            self.tagged.pop()
            raise
        if self.tagged.pop():
            self.below[-1][2].append(False)
        return value

    def caught(self, inner: Any, level: int, n: Any) -> Any:
        try:
            return self.whole(inner, level, n)
        except Failed as error:
            recovery = ("recover", str(error))
            if not self.quiet and recovery not in self.steps:
                self.ran.append((-1, repr(str(error))))
                self.steps[recovery] = True
            return f"recovered {error}"

    def shape(self, part: Any, level: int, n: Any) -> Any:
        """The part as an expression: which calls of what."""
        match part:
            case ("n",) | ("k",) | ("fail",):
                return repr(self.value(part, level, n))
            case ("file", number):
                return number, self.content(number)
            case ("call", other, plus):
                return "call", other, n + plus if isinstance(n, int) else plus
            case ("given", other, number):
                return "given", other, n if isinstance(n, int) else 7, number, self.content(number)
            case ("list", inner):
                return "list", *[self.shape(one, level, n) for one in inner]
            case ("nested", other, inner):
                return "nested", other, self.shape(inner, level, n)
            case (kind, inner):
                return kind, self.shape(inner, level, n)
        raise AssertionError(part)

    def all_of(self, walks: list[Callable[[], Any]]) -> list[Any]:
        """What all of them give; one that fails does not keep the others from running."""
        values, errors = [], []
        for walk in walks:
            try:
                values.append(walk())
            except Failed as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return values

    def files_told(self, given: Any) -> list[tuple[int, str]]:
        """The files in an argument."""
        if isinstance(given, File):
            return [(int(given.path[-1]), self.content(int(given.path[-1])))]
        parts = given if isinstance(given, list) else given.values() if isinstance(given, dict) else []
        return [found for one in parts for found in self.files_told(one)]

    def told(self, given: Any) -> str:
        """What an argument is: files with what is in them."""
        if isinstance(given, File):
            return f"{given.path} {self.content(int(given.path[-1]))}"
        if isinstance(given, list):
            return f"[{[self.told(one) for one in given]}]"
        if isinstance(given, dict):
            return f"{{{[(key, self.told(one)) for key, one in given.items()]}}}"
        return repr(given)

    def files(self, part: Any) -> list[tuple[int, str]]:
        """The files in what the body returns, with their content: its step holds only while they are so."""
        if type(part) is not tuple:
            return []
        if part[0] in ("file", "given"):
            return [(part[-1], self.content(part[-1]))]
        return [found for inner in part[1:] for found in self.files_in(inner)]

    def files_in(self, inner: Any) -> list[tuple[int, str]]:
        if type(inner) is tuple and inner and type(inner[0]) is tuple:
            return [found for one in inner for found in self.files(one)]
        return self.files(inner)

    def value(self, part: Any, level: int, n: Any) -> Any:
        match part:
            case ("n",):
                return n if isinstance(n, int) else "deep"
            case ("k",):
                return self.graph.constants[level]
            case ("fail",):
                return self.graph.constants[level]
            case ("catch", inner):
                key = ("catch", self.shape(inner, level, n))
                return self.node(key, lambda: self.caught(inner, level, n), None, [])
            case ("file", number):
                return File(f"{self.folder}/{number}")
            case ("call", other, plus):
                return self.call(other, n + plus if isinstance(n, int) else plus, None)
            case ("given", other, number):
                return self.call(other, n if isinstance(n, int) else 7, number)
            case ("list1", inner):
                return [self.value(inner, level, n)]
            case ("list", inner):
                return self.all_of([lambda one=one: self.value(one, level, n) for one in inner])
            case ("dict", inner):
                return {"a": self.value(inner, level, n)}
            case ("twice", inner):
                return [[one, one] for one in [self.value(inner, level, n)]]
            case ("tagged", inner):
                self.tagged[-1] = True
                return self.value(inner, level, n)
            case ("nested", other, inner):
                try:
                    given = self.whole(inner, level, n)
                except Failed:
                    is_cached = self.graph.cached[other]  # a call that is never made counts as one that is
                    self.below[-1][0].add((other, self.constant(other), is_cached))
                    self.below[-1][2].append(is_cached)
                    raise
                return self.call(other, given, None)
        raise AssertionError(part)


@pytest.fixture
def fresh(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Path]]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def fresh() -> Path:
        folder = tmp_path_factory.mktemp("graph")
        sys.path[:] = [str(folder), *[each for each in sys.path if "/graph" not in each]]
        for number in range(FILES):
            (folder / str(number)).write_text("0")
        return folder

    yield fresh
    sys.modules.pop("replay_graph", None)


def check(folder: Path, graph: Graph, changes: list[tuple[str, int, int]]) -> None:
    program, naive, n = Program(folder), Naive(folder), 1
    with program.scheduler:
        for kind, one, other in [("nothing", 0, 0), *changes, ("nothing", 0, 0)]:
            if kind == "code":
                graph = graph.edited(one, other)
            elif kind == "cache":
                graph = graph.toggled(one)
            elif kind == "file":
                (folder / str(one)).write_text(str(other) * (other + 1))
            elif kind == "argument":
                n = one
            value, ran = program.run(graph, n)
            expected, bodies = naive.run(graph, n)
            assert repr(value) == repr(expected)
            assert sorted(ran) == sorted(bodies), (kind, one, other)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs, changes=st.lists(edits, max_size=4))
def test_a_replay_gives_and_runs_what_a_walk_would(fresh, graph, changes):
    check(fresh(), graph, changes)


@pytest.mark.thorough
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs, changes=st.lists(edits, max_size=6))
def test_ten_thousand_replays_give_what_walks_would_in_ten_minutes(fresh, graph, changes):
    check(fresh(), graph, changes)


# --- the same in processes of their own, which have run other things before


PROCESS = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.dont_write_bytecode = True
folder, order = sys.argv[1:]
sys.path.insert(0, folder)
from valuestore import Scheduler, task
ran = []
here = sys.modules[NAME] = type(sys)(NAME)
here.RAN = ran
FUNCTIONS
here.fail_if_one, here.recover = fail_if_one, recover
import replay_graph as graph
graph.FOLDER = folder
RAN = ran
with Scheduler(folder + "/repository") as scheduler:
    for level in [*json.loads(order), 0]:
        try:
            value = scheduler.run(getattr(graph, f"t{level}")(1))
        except ValueError as error:
            value = f"failed {error}"
print(repr(value))
print(sorted(set(ran)))
"""


def process() -> str:
    functions = "\n".join(inspect.getsource(one) for one in (fail_if_one, recover.func))
    return PROCESS.replace("NAME", repr(__name__)).replace("FUNCTIONS", functions)


def check_processes(
    folder: Path, scripts: Scripts, graph: Graph, order: list[int], edit: tuple[int, int]
) -> None:
    """Each process runs other tasks of the graph first: what bodies reached then differs, results do not."""
    (folder / "process.py").write_text(process())
    naive = Naive(folder)
    for now, first in ((graph, []), (graph, order), (graph.edited(*edit), order[::-1]), (graph, [])):
        (folder / "replay_graph.py").write_text(source_of(now))
        before = [one for level in first for one in naive.run(now, 1, level)[1]]
        expected, bodies = naive.run(now, 1)
        found = scripts.run(folder / "process.py", str(folder), json.dumps(first))
        assert found.code == 0, found.err
        value, ran = found.out.splitlines()
        assert value == repr(expected)
        assert set(ast.literal_eval(ran)) <= {*bodies, *before}


orders = st.lists(st.integers(1, TASKS - 1), max_size=3)
one_edit = st.tuples(st.integers(0, TASKS - 1), st.integers(0, 2))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs, order=orders, edit=one_edit)
def test_processes_that_ran_other_tasks_before_agree(fresh, scripts, graph, order, edit):
    check_processes(fresh(), scripts, graph, order, edit)


@pytest.mark.thorough
@pytest.mark.timeout(1200)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs, order=orders, edit=one_edit)
def test_many_processes_that_ran_other_tasks_before_agree(fresh, scripts, graph, order, edit):
    check_processes(fresh(), scripts, graph, order, edit)


# --- what is recorded of a replay, and what ends it


@task(namespace="replayed", version="1")
def part(n: int) -> int:
    RAN.append((1, str(n)))
    return n * 10


@task(namespace="replayed", version="1")
def whole(n: int) -> list[int]:
    RAN.append((0, str(n)))
    return [part(i) for i in range(n)]


@task(namespace="replayed", version="1")
def above(n: int) -> list[list[int]]:
    return [whole(n), whole(n + 1)]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.open(tmp_path) as repository:
        yield repository


def run(repository: Repository, call: Any) -> tuple[Any, Any]:
    with Scheduler(repository) as scheduler:
        value = scheduler.run(call)
        repository.flush()
        return value, scheduler.execution


def test_a_replay_is_one_job_that_says_how_many_calls_it_stands_for(repository):
    cold, first = run(repository, above(3))
    warm, second = run(repository, above(3))
    assert warm == cold
    assert (first.counts.done, first.counts.cached) == (7, 3)  # whole(4) makes three calls that whole(3) made
    assert (second.counts.done, second.counts.cached, second.counts.replayed) == (0, 10, 9)
    history = repository.history
    [job] = history.jobs().where(execution=second.execution_id).all()
    assert (job.status, job.calls, job.parent_id) == ("cached", 10, None)
    record = history.executions().first()
    assert (record.jobs, record.executed, record.cached, record.replayed) == (1, 0, 10, 9)
    assert [made["task"] for made in history.calls_made(job.call_hash).dicts()] == ["replayed.whole"] * 2
    assert history.why(job.job_id).reasons[0].kind == "cached"
    upstream = history.upstream(job.job_id)
    assert {call.task for call in upstream.calls.values()} == {
        f"replayed.{one}" for one in ("above", "whole", "part")
    }
    assert history.diff(first.execution_id, second.execution_id).is_same


def test_only_what_is_new_is_walked_and_a_replay_is_a_part_of_it(repository):
    run(repository, above(3))
    _, execution = run(repository, above(4))
    jobs = repository.history.jobs().where(execution=execution.execution_id).all()
    assert sorted((job.task, job.status, job.calls) for job in jobs if job.task != "replayed.part") == [
        ("replayed.above", "done", 1),
        ("replayed.whole", "cached", 5),
        ("replayed.whole", "done", 1),
    ]
    _, again = run(repository, above(4))
    assert again.counts.done == 0
    assert len(repository.history.jobs().where(execution=again.execution_id).all()) == 1


def test_a_lost_result_deep_below_is_found_when_it_is_needed(repository):
    run(repository, whole(3))
    RAN.clear()
    with repository.database.write() as connection:
        connection.execute(text("DELETE FROM value WHERE preview = '20'"))
    assert run(repository, whole(3))[0] == [0, 10, 20]
    assert RAN == []
    assert run(repository, [whole(3), part(2)])[0] == [[0, 10, 20], 20]
    assert RAN == [(1, "2")]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE call_node SET value_hash = (SELECT c.value_hash FROM call_node c WHERE c.calls = 3)",
        "UPDATE call_node SET args_hash = (SELECT c.args_hash FROM call_node c WHERE c.calls = 3)",
        "UPDATE call_node SET task_set_hash = NULL",
        "UPDATE call_node SET external_set_hash = 'x'",
        "UPDATE call_node SET calls = 7",
        "UPDATE call_node SET checksum = '0123456789abcdef'",
        "UPDATE call_node SET checksum = NULL",
        "DELETE FROM set_member",
        "DELETE FROM set_member WHERE member_hash = (SELECT min(member_hash) FROM set_member)",
        "UPDATE set_member SET is_set = NOT is_set",
        "DELETE FROM call_node",
        "DELETE FROM task",
    ],
)
def test_damaged_rows_are_walked(repository, damage):
    expected = [run(repository, whole(n))[0] for n in (2, 3)]
    with repository.database.write() as connection:
        connection.execute(text(damage))
    with Repository.open(repository.folder) as other:
        assert [run(other, whole(n))[0] for n in (2, 3)] == expected


def test_what_is_stored_of_a_replay_does_not_grow_with_it(repository):
    run(repository, whole(300))
    before = repository.stats().rows
    run(repository, whole(300))
    after = repository.stats().rows
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "execution": 1,
        "job": 1,
        "tag": after["tag"] - before["tag"],
        "task_count": 1,
    }


def test_a_call_that_two_bodies_return_is_below_both(repository, tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("1")
    for content in ("1", "22", "333"):
        path.write_text(content)
        SHARED[0] = opened(File(str(path)))
        assert run(repository, [holder(1), holder(2)])[0] == [[content], [content]]
        assert run(repository, holder(2))[0] == [content]


SHARED: list[Any] = [None]


@task(namespace="replayed", version="1")
def opened(file: File) -> str:
    return file.read_text()


@task(namespace="replayed", version="1")
def holder(n: int) -> list[str]:
    return [SHARED[0]]


def test_tags_of_jobs_are_set_in_every_run(repository):
    for _ in range(3):
        _, execution = run(repository, labelled(1))
        [job] = (
            repository.history.jobs().where(execution=execution.execution_id, task="replayed.labelled").all()
        )
        assert repository.tags.get(job) == {"seen": 1}


@task(namespace="replayed", version="1")
def labelled(n: int) -> Any:
    return tag(part(n), job_tags={"seen": 1})


def test_functions_in_what_a_body_returned_count_by_their_code(repository, monkeypatch):
    """Nobody names them who is asked: they are arguments of the calls that it made."""
    assert run(repository, applying(2))[0] == 4
    assert run(repository, applying(2))[1].counts.replayed == 1
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3)
    value, execution = run(repository, applying(2))
    assert (value, execution.counts.replayed) == (6, 0)


FACTOR = 2


def doubled(n: int) -> int:
    return FACTOR * n


def test_own_classes_in_what_tasks_give_count_by_their_code(repository, monkeypatch):
    assert run(repository, summed(2))[0] == 5
    assert run(repository, summed(2))[1].counts.replayed == 2
    monkeypatch.setattr(Length, "__add__", lambda self, other: self.metres * other.metres)
    value, execution = run(repository, summed(2))
    assert (value, execution.counts.replayed) == (6, 0)


@dataclass
class Length:
    metres: int

    def __add__(self, other: Length) -> int:
        return self.metres + other.metres


@task(namespace="replayed", version="1")
def length(n: int) -> Length:
    return Length(n)


@task(namespace="replayed", version="1")
def summed(n: int) -> Any:
    return length(n) + length(n + 1)


@task(namespace="replayed", version="1")
def applied(function: Callable[[int], int], n: int) -> int:
    return function(n)


@task(namespace="replayed", version="1")
def applying(n: int) -> int:
    return applied(doubled, n)
