"""The examples for those who come from redun: what they give, and what each rerun executes."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from valuestore import Repository

EXAMPLES = Path(__file__).parents[2] / "examples" / "redun"
PROGRAM = "import sys\nfrom valuestore.cli.main import invoke\nsys.exit(invoke(sys.argv[1:]))\n"


class Example:
    """A copy of one, run by the command line in a folder of its own."""

    def __init__(self, file, scripts):
        self.file = file
        self.folder = file.parent
        self._scripts = scripts
        (self.folder / "program.py").write_text(PROGRAM)

    def __call__(self, *arguments):
        """The result of ``main``, and how often each task was executed for it, control flow left out."""
        command = ("run", self.file.name, "main", "--json", *arguments)
        ran = self._scripts.run(self.folder / "program.py", *command, strict=True)
        assert ran.code == 0, ran.err
        with Repository.open(self.folder) as repository:
            execution = repository.history.executions().first()
            jobs = repository.history.query(
                "select task from jobs where status = 'done' and execution_id = "
                f"'{execution.execution_id}' and task not like 'valuestore.%'"
            ).rows
        return json.loads(ran.out), dict(Counter(str(task).rpartition(".")[2] for (task,) in jobs))

    def edit(self, old, new):
        text = self.file.read_text("utf-8")
        assert text.count(old) == 1, old
        self.file.write_text(text.replace(old, new))

    def write(self, name, text):
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text)


@pytest.fixture
def example(tmp_path, scripts, request):
    """The one that the test is named for: ``test_many_jobs`` is of ``many_jobs.py``."""
    name = f"{request.function.__name__.removeprefix('test_')}.py"
    return Example(Path(shutil.copy(EXAMPLES / name, tmp_path)), scripts)


def test_each_example_has_a_test():
    names = {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")}
    assert names == {name for name in globals() if name.startswith("test_")} - {
        "test_each_example_has_a_test"
    }


def test_control_flow(example):
    result, ran = example()
    assert result == ["fine: 4.00", ["open", "measure", "close"]]
    assert ran == {"main": 1, "number": 3, "none_at_all": 1, "mean": 1, "wave_through": 1, "step": 3}
    assert example() == (result, {})
    result, ran = example("--readings", "9", "8")
    assert result[0] == "high: 8.50"
    assert ran == {"main": 1, "number": 1, "mean": 1, "look_into": 1}
    example.edit("HIGH = 5.0", "HIGH = 3.5")
    assert example() == (["high: 4.00", ["open", "measure", "close"]], {"main": 1, "look_into": 1})


def test_functional(example):
    result, ran = example()
    assert result["letters"] == ["o", "t", "b", "e", "o", "r", "n", "o", "t", "o", "t", "b", "e"]
    assert (result["lengths"], result["squares"]) == ([2, 2, 2, 3, 2, 2], [4, 4, 4, 9, 4, 4])
    assert result["powers"] == [8, 9]
    assert result["with"][0] == ["to", 2]
    assert ran == {"main": 1, "words": 1, "letters": 4, "length": 4, "square": 2, "power": 3, "pairs": 1}
    assert example() == (result, {})
    example.edit("UNIT = 1", "UNIT = 2")
    result, ran = example()
    assert result["lengths"] == [4, 4, 4, 6, 4, 4]
    assert ran == {"length": 4, "square": 2, "power": 2, "pairs": 1, "main": 1}


def test_all_errors(example):
    result, ran = example()
    problems = ["ValueError: invalid literal for int() with base 10: 'two'", "Unwanted: plums: -1"]
    assert result == [110, problems]
    assert ran == {"main": 1, "price": 2, "settled": 1, "total": 1}
    assert example() == (result, {})
    example.edit('"two"', '"2"')
    assert example() == ([130, problems[1:]], {"main": 1, "price": 1, "settled": 1, "total": 1})
    example.edit('"-1"', '"1"')
    assert example() == ([140, []], {"main": 1, "price": 1, "total": 1})


def test_side_branches(example):
    result, ran = example()
    assert result == {"summary": 14, "archive": "4 of 4 kept"}
    assert ran == {"main": 1, "simulate": 1, "archive": 1, "summary": 1, "checked": 1}
    result_again, ran = example()
    assert (result_again, ran) == (result, {})
    example.edit("SIZE = 4", "SIZE = 5")
    result, ran = example()
    assert result == {"summary": 30, "archive": "5 of 5 kept"}
    assert ran == {"main": 1, "simulate": 1, "archive": 1, "summary": 1, "checked": 1}


def test_shared_calls(example):
    result, ran = example("--n", "24")
    assert result == [75025, 276]
    assert (ran["fibonacci"], ran["main"]) == (25, 1)
    assert example("--n", "24") == (result, {})
    result, ran = example("--n", "25")
    assert result == [121393, 300]
    assert (ran["fibonacci"], ran["middle"]) == (1, 3)  # the whole, its right half, the 25th
    example.edit("START = 1", "START = 2")
    result, ran = example("--n", "25")
    assert result == [242786, 300]
    assert ran["fibonacci"] == 26
    assert "middle" not in ran


@pytest.fixture
def site(tmp_path):
    """A folder, and the address of a server that shows what is in it."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join()


def test_scraping(example, site):
    folder, url = site
    (folder / "index.html").write_text('<a href="a.html">alpha</a> <a href="b.html">beta</a>')
    (folder / "a.html").write_text('beta beta <a href="index.html">alpha</a>')
    (folder / "b.html").write_text("gamma gamma gamma")
    result, ran = example("--first", url)
    assert result == ["gamma", 3]
    assert (ran["links"], ran["count"], ran["main"]) == (3, 3, 1)
    assert example("--first", url) == (result, {})
    (folder / "b.html").write_text("gamma alpha alpha alpha")
    result, ran = example("--first", url)
    assert result == ["alpha", 5]
    assert (ran["links"], ran["count"], ran["most_frequent"]) == (1, 1, 1)
    example.edit("SHORT = 3", "SHORT = 4")
    result, ran = example("--first", url)
    assert (result, ran) == (["alpha", 5], {"count": 3})


def test_allele_frequency(example):
    example.write("samples/one.txt", "rs1 A A\nrs2 C T\n")
    example.write("samples/two.txt", "rs1 A G\nrs3 G G\n")
    result, ran = example("--samples", "samples")
    report = example.folder / "report.tsv"
    assert report.read_text() == "rs1\t0.250\nrs2\t0.500\nrs3\t0.000\n"
    assert ran == {"main": 1, "alleles": 2, "merged": 1, "written": 1}
    assert example("--samples", "samples") == (result, {})
    example.write("samples/two.txt", "rs1 G G\nrs3 G G\n")
    assert example("--samples", "samples")[1] == {"main": 1, "alleles": 1, "merged": 1, "written": 1}
    assert report.read_text() == "rs1\t0.500\nrs2\t0.500\nrs3\t0.000\n"
    report.unlink()
    assert example("--samples", "samples")[1] == {"written": 1}
    example.edit("DIGITS = 3", "DIGITS = 1")
    assert example("--samples", "samples")[1] == {"written": 1}
    assert report.read_text().startswith("rs1\t0.5\n")


def test_staged_script(example):
    example.write("words.txt", "the cat saw the dog\nthe end\n")
    result, ran = example("--text", "words.txt")
    assert (result["longest"], result["greeting"]) == ("the", "hello world\n")
    assert result["words"]["lines"].strip() == "2"
    ranking = example.folder / "out" / "ranking.txt"
    assert ranking.read_text().split()[:2] == ["3", "the"]
    assert ran == {"main": 1, "ranked": 1, "longest": 1, "greeting": 1}
    assert example("--text", "words.txt") == (result, {})
    ranking.unlink()
    assert example("--text", "words.txt") == (result, {})  # the script alone
    assert ranking.exists()
    example.edit('ORDER = "-rn"', 'ORDER = "-n"')
    assert example("--text", "words.txt")[1] == {"ranked": 1}
    assert ranking.read_text().split()[-2:] == ["3", "the"]
    example.edit("echo hello", "echo welcome")
    assert example("--text", "words.txt")[0]["greeting"] == "welcome world\n"


def test_named_and_versioned(example):
    result, ran = example()
    assert result == {"shop.net+shop.tariff": 4700}
    assert ran == {"main": 1, "net": 1, "tariff": 1, "rounded": 1}
    assert example() == (result, {})
    example.file = example.file.rename(example.folder / "renamed.py")
    assert example()[1] == {"main": 1, "net": 1}  # whose code is named for its file
    example.edit("RATE = 20", "RATE = 10")
    assert example()[1] == {"net": 1, "rounded": 1}
    example.edit('"2024.1"', '"2024.2"')
    assert example()[1] == {"tariff": 1}


def test_many_jobs(example):
    result, ran = example()
    assert result == [96, 96, 96, 96, 96, 96]
    assert ran == {"main": 1, "job": 300, "largest": 6}
    assert example() == (result, {})
    assert example("--jobs", "350")[1] == {"main": 1, "job": 50, "largest": 1}
    example.edit("% 97", "% 89")
    assert example("--jobs", "350")[1]["job"] == 350


def configure(example, text):
    example.write(".valuestore/valuestore.toml", text)


def test_limited(example):
    configure(example, "[limits]\ndb = 2\n")
    result, ran = example("--workers", "6")
    assert result == {"numbers": [0, 10, 40, 90, 160, 250], "answer": "answered"}
    assert ran == {"main": 1, "query": 6, "flaky": 1, "scaled": 1}
    with Repository.open(example.folder) as repository:
        jobs = repository.history.jobs().where(task="limited.query").all()
    spans = [(job.started, job.started + timedelta(seconds=job.seconds)) for job in jobs]
    assert max(sum(begin <= each < end for begin, end in spans) for each, _ in spans) == 2
    configure(example, "[limits]\ndb = 1\n")
    example.edit("retries=2", "retries=3")
    assert example() == (
        result,
        {"main": 1},
    )  # whose text has changed; how tasks are run is not what they are
    example.edit("FACTOR = 10", "FACTOR = 100")
    assert example()[1] == {"scaled": 1}


def test_context(example):
    result, ran = example()
    assert result == {"as said": ["1.5 points", "2.0 points"], "slowly": ["0.3 points", "0.4 points"]}
    assert ran.pop("study") in (2, 4)  # equal calls in two contexts: both may run, before anything is kept
    assert ran == {"main": 1, "trained": 4, "named": 4}
    assert example() == (result, {})
    configure(example, "[context.model]\nrate = 2.0\n")
    result, ran = example()
    assert result == {"as said": ["6.0 points", "8.0 points"], "slowly": ["0.3 points", "0.4 points"]}
    assert ran == {"trained": 2, "named": 2}
    configure(example, "[context]\nmodel.rate = 2.0\nreport.unit = 'marks'\n")
    result, ran = example()
    assert result["slowly"] == ["0.3 marks", "0.4 marks"]
    assert ran == {"named": 4}
