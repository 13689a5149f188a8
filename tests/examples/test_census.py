"""The census: what it counts, what it writes, and what it does not do twice."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from valuestore import File, Repository, Scheduler, get_type_registry

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
census = importlib.import_module("census")  # under the names that they have on the command line
demo = importlib.import_module("demo")

COUNTED = """\
import os, sys
from a import b

@decorate(
    with_care=True,
)
def decorated():
    def inner():
        import late
        return lambda: 0
    return inner

class Outer:
    class Inner:
        async def method(self):
            match self:
                case 1:
                    def in_case():
                        pass
                case _:
                    pass

    one = two = lambda self: (
        1,
    )

if True:
    try:
        pass
    except ImportError:
        def fallback(): pass
    else:
        def otherwise(): pass
    finally:
        def at_last(): pass
"""


@pytest.fixture
def tree(tmp_path):
    """A tree with a top level, a package, and a package in it."""
    root = tmp_path / "tree"
    (root / "package" / "inner").mkdir(parents=True)
    (root / "counted.py").write_text(COUNTED)
    (root / "package" / "__init__.py").write_text("")
    (root / "package" / "one.py").write_text("def one():\n    return 1\n")
    (root / "package" / "inner" / "two.py").write_text("class Two:\n    pass\n")
    (root / "package" / "bad.py").write_text("def f(:\n    <oops>\n")
    (root / "package" / "notes.txt").write_text("no Python")
    return root


@pytest.fixture
def scheduler(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        yield scheduler


def measured(tmp_path, content):
    path = tmp_path / "measured.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return census.measure.func(File(path))


# --- measuring ------------------------------------------------------------------------------------


def test_decorated_nested_and_async_functions_count(tmp_path):
    measure = measured(tmp_path, COUNTED)
    assert (measure.functions, measure.classes, measure.imports) == (7, 2, 3)
    assert measure.lines == len(COUNTED.splitlines())
    assert measure.problem == ""


def test_the_longest_function_has_its_full_name_and_no_decorators(tmp_path):
    measure = measured(tmp_path, COUNTED)
    assert (measure.longest_function, measure.longest_lines) == ("Outer.Inner.method", 7)


def test_of_two_equally_long_functions_the_first_is_named(tmp_path):
    assert measured(tmp_path, "def b(): pass\ndef a(): pass\n").longest_function == "b"


def test_a_file_without_functions_has_no_longest(tmp_path):
    assert measured(tmp_path, "") == census.FileMeasure(str(tmp_path / "measured.py"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("def f(:\n", "in line 1"),
        (b"x = '\xff'\n", "utf-8"),
        (b"# coding: no-such\n", "no-such"),
        (b"x = 1\0\n", "null"),
    ],
)
def test_what_does_not_parse_is_a_problem_not_an_error(tmp_path, content, reason):
    measure = measured(tmp_path, content)
    assert reason in measure.problem
    assert measure.lines == 1
    assert "\n" not in measure.problem


def test_deep_code_is_measured_without_recursion(tmp_path):
    nested = "".join(" " * depth + "if 1:\n" for depth in range(90)) + " " * 90 + "def deep(): pass\n"
    assert measured(tmp_path, nested).longest_function == "deep"


def test_a_file_that_is_gone_is_a_problem(tmp_path):
    assert "cannot be read" in census.measure.func(File(tmp_path / "gone.py")).problem


# --- the tree -------------------------------------------------------------------------------------


def test_a_tree_is_its_root_its_paths_and_their_contents(tree):
    digest = get_type_registry().hash
    before = digest(census.SourceTree(tree))
    (tree / "package" / "notes.txt").write_text("still no Python")
    os.utime(tree / "counted.py", (1, 1))
    assert digest(census.SourceTree(tree)) == before
    (tree / "package" / "one.py").write_text("def one():\n    return 2\n")
    changed = digest(census.SourceTree(tree))
    assert changed != before
    (tree / "package" / "one.py").rename(tree / "package" / "uno.py")
    assert digest(census.SourceTree(tree)) not in (before, changed)


def test_a_stored_tree_lists_what_it_was_and_knows_that_it_changed(tree, scheduler):
    ref = scheduler.repository.put(census.SourceTree(tree))
    stored = scheduler.repository.get(ref.value_hash)
    assert stored.is_valid()
    (tree / "new.py").write_text("")
    assert not stored.is_valid()
    assert len(census.SourceTree(tree).files()) == len(stored.files()) + 1


def test_a_folder_that_is_not_there_is_refused_on_the_command_line(tmp_path):
    with pytest.raises(ValueError, match="not a folder"):
        census.SourceTree.parse_arg(str(tmp_path / "none"))


def test_installed_packages_are_not_part_of_a_tree(tree):
    (tree / "site-packages").mkdir()
    (tree / "site-packages" / "foreign.py").write_text("")
    assert not any("foreign" in file.path for file in census.SourceTree(tree).files())


def test_the_standard_library_has_its_hundreds_of_files():
    assert len(list(census.python_files(census.STANDARD_LIBRARY.root))) > 600


# --- the page -------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag that is opened, and the attributes that could load something."""

    def __init__(self, html):
        super().__init__()
        self.opened = []
        self.open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)
        if tag not in ("meta", "wbr"):
            self.open.append(tag)
        assert not {"src", "href", "onload", "onclick"} & {name for name, _ in attrs}

    def handle_startendtag(self, tag, attrs):
        self.opened.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_shows_every_package_and_every_problem(tree, tmp_path, scheduler):
    file = scheduler.run(census.census(census.SourceTree(tree), str(tmp_path / "page.html")))
    page = file.read_text()
    for expected in (
        "(top level)",
        "package.inner",
        "Outer.Inner.method",
        "cannot parse it in line 1",
        "bad.py",
    ):
        assert expected in page
    parsed = Tags(page)
    assert parsed.open == []
    assert {"svg", "rect", "table"} <= set(parsed.opened)
    assert "script" not in parsed.opened


def test_names_are_escaped(tree, tmp_path, scheduler):
    folder = tree / "<script>&'\""
    folder.mkdir()
    (folder / "<img src=x>.py").write_text("def f():\n    pass\n\n\n" * 9)
    (folder / os.fsdecode(b"\xff.py")).write_text("def g(: pass")
    file = scheduler.run(census.census(census.SourceTree(tree), str(tmp_path / "page.html")))
    parsed = Tags(file.read_text())
    assert not {"script", "img"} & set(parsed.opened)
    assert "&lt;script&gt;&amp;" in file.read_text()


def test_an_empty_tree_has_a_page(tmp_path, scheduler):
    (tmp_path / "empty").mkdir()
    file = scheduler.run(census.census(census.SourceTree(tmp_path / "empty"), str(tmp_path / "page.html")))
    assert "0 lines" in file.read_text()


# --- again ----------------------------------------------------------------------------------------


def test_only_the_path_of_a_changed_file_runs_again(tree, tmp_path):
    def run():
        with Scheduler(tmp_path) as scheduler:
            scheduler.run(census.census(census.SourceTree(tree), str(tmp_path / "page.html")))
            counts = scheduler.execution.counts
            return counts.done, counts.cached

    assert run() == (5 + 3 + 2, 0)
    assert run()[0] == 0
    (tree / "package" / "one.py").write_text("def one():\n\n    return 1\n")
    assert run()[0] == 4
    (tree / "package" / "one.py").unlink()
    assert run()[0] == 3


def test_a_lost_page_is_written_again(tree, tmp_path, scheduler):
    call = census.census(census.SourceTree(tree), str(tmp_path / "page.html"))
    page = scheduler.run(call).read_bytes()
    (tmp_path / "page.html").unlink()
    assert (
        scheduler.run(census.census(census.SourceTree(tree), str(tmp_path / "page.html"))).read_bytes()
        == page
    )
    assert scheduler.execution.counts.done == 1


def test_the_demo_keeps_its_promises_on_the_command_line(tree, tmp_path):
    folder = tmp_path / "demo"
    command = [sys.executable, EXAMPLES / "demo.py", "--source", tree, "--folder", folder]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert demo.NEW_FUNCTION in finished.stdout
    with Repository.open(folder) as repository:
        executions = repository.history.executions().dicts()
        assert [run["executed"] for run in executions] == [4, 0, 0, 10]
        [longest] = repository.history.query(demo.QUESTION, 1).dicts()
    assert longest["measured_by"] == executions[0]["execution_id"]
    assert longest["lines"] == demo.NEW_LINES


def test_the_demo_notices_a_broken_promise():
    cold = demo.Run("cold", 1, 1, {"census.measure": 2}, 0)
    again = demo.Run("again", 1, 1, {}, 2)
    changed = demo.Run("changed", 1, 1, {**demo.PATH_TO_THE_ROOT, "census.join": 2}, 1)
    assert demo.broken_promises([cold, again, cold, changed], 2, demo.NEW_FUNCTION) == [
        "a new time stamp executes nothing",
        "one changed file executes its path to the root alone",
    ]
