"""script: a shell command on copies of files, cached by its text and their content."""

from __future__ import annotations

import pickle

import pytest

from valuestore import Dir, File, Scheduler, task
from valuestore.errors import ArgumentError, ScriptFailed
from valuestore.tasks.script import script


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    File("in/words.txt").write("b\na\n")


def run(call):
    """The value, and how many bodies ran for it."""
    with Scheduler("repository") as scheduler:
        value = scheduler.run(call)
        return value, scheduler.execution.counts.done


def sort(**options):
    return script("sort words.txt > sorted.txt", File("in/words.txt"), File("out/sorted.txt"), **options)


def test_outputs_are_put_in_their_places_and_cached():
    made, ran = run(sort())
    assert (made, made.read(), ran) == (File("out/sorted.txt"), "a\nb\n", 1)
    assert run(sort()) == (made, 0)


@pytest.mark.parametrize("change", ["input", "output", "command", "lost output"])
def test_it_runs_again_when_something_changed(change):
    run(sort())
    call = sort()
    if change == "input":
        File("in/words.txt").write("c\n")
        call = sort()
    elif change == "output":
        File("out/sorted.txt").write("edited")
    elif change == "command":
        call = script("sort -r words.txt > sorted.txt", File("in/words.txt"), File("out/sorted.txt"))
    else:
        File("out/sorted.txt").remove()
    made, ran = run(call)
    assert ran == 1
    assert made.read() == {"input": "c\n", "command": "b\na\n"}.get(change, "a\nb\n")


def test_without_outputs_it_gives_what_was_written_to_stdout():
    assert run(script("cat words.txt; echo über", [File("in/words.txt")])) == ("b\na\nüber\n", 1)


def test_indentation_is_no_change():
    assert run(script("echo a\necho b"))[1] == 1
    indented = """
        echo a
        echo b
    """
    assert run(script(indented)) == ("a\nb\n", 0)


def test_names_shapes_and_folders():
    File("data/1/x.txt").write("1")
    File("data/2/x.txt").write("2")
    inputs = {"one.txt": File("data/1/x.txt"), "sub/two.txt": File("data/2/x.txt"), "all": Dir("data")}
    outputs = {"sum": File("out/sum"), "tree": Dir("out/tree")}
    made, _ = run(script("cat one.txt sub/two.txt > sum; cp -r all tree", inputs, outputs))
    assert made == {"sum": File("out/sum"), "tree": Dir("out/tree")}
    assert made["sum"].read() == "12"
    assert made["tree"].file("2/x.txt").read() == "2"
    staged = [File("data/1/x.txt").stage("a"), File("data/2/x.txt").stage("b")]
    made, _ = run(script("cp a c; cp b d", staged, (File("out/1").stage("c"), File("out/2").stage("d"))))
    assert made == (File("out/1"), File("out/2"))
    assert run(script("touch e", outputs=[File("e")]))[0] == [File("e")]


@task(version="1")
def make(text: str) -> File:
    made = File("made.txt")
    made.write(text)
    return made


def test_inputs_may_be_calls_and_the_result_an_argument():
    first = script("tr a-z A-Z < made.txt > upper.txt", make("abc"), File("upper.txt"))
    assert run(script("cat upper.txt", [first]))[0] == "ABC"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("echo partial > sorted.txt; echo oops >&2; exit 3", 3),
        ("echo partial > sorted.txt; false; echo oops >&2", 1),
        ("false | cat > sorted.txt", 1),
        ("echo partial > sorted.txt; echo $NO_SUCH_VARIABLE", None),
        ("echo partial > sorted.txt; kill -9 $$", -9),
        ("true", None),
    ],
)
def test_a_failure_is_told_and_writes_nothing(command, code):
    File("out/sorted.txt").write("before")
    with pytest.raises(ScriptFailed) as caught:
        run(script(command, File("in/words.txt"), File("out/sorted.txt")))
    assert File("out/sorted.txt").read() == "before"
    assert code is None or caught.value.exit_code == code
    assert ("oops" in caught.value.stderr) == ("exit 3" in command)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_no_output_is_written_if_one_is_missing():
    with pytest.raises(ScriptFailed, match="made no File 'b'"):
        run(script("echo > a", outputs=[File("a"), File("b")]))
    assert not File("a").exists()


def test_only_the_end_of_a_long_stderr_is_kept():
    with pytest.raises(ScriptFailed) as caught:
        run(script("head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1"))
    assert caught.value.stderr.endswith("the end")
    assert len(caught.value.stderr) <= 4096


def test_a_timeout_ends_the_command_and_its_children():
    with pytest.raises(ScriptFailed, match="stopped after 0.5 s"):
        run(script("(sleep 3; touch $OLDPWD/late) & sleep 60", timeout_seconds=0.5))
    with pytest.raises(ScriptFailed, match="stopped") as caught:
        run(script("echo before >&2; sleep 60", timeout_seconds=0.5))
    assert caught.value.exit_code is None
    assert caught.value.stderr == "before"


def test_inputs_are_copies():
    run(script("echo changed > words.txt", File("in/words.txt"), File("copy.txt").stage("words.txt")))
    assert File("in/words.txt").read() == "b\na\n"
    assert File("copy.txt").read() == "changed\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": ""},
        {"command": "a\0b"},
        {"inputs": "in/words.txt"},
        {"outputs": {"../x": File("x")}},
        {"outputs": {"/x": File("x")}},
        {"outputs": [File("a/x"), File("b/x")]},
        {"outputs": [make("x")]},
        {"outputs": [5]},
    ],
)
def test_bad_arguments_are_refused_at_once(wrong):
    with pytest.raises(ArgumentError):
        script(**{"command": "true", **wrong})


def test_bad_input_names_are_refused_when_they_are_known():
    for inputs in ({"../x": File("in/words.txt")}, [File("in/words.txt"), File("in/words.txt")]):
        with pytest.raises(ArgumentError):
            run(script("true", inputs))


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    run(script("touch a b"))
    with pytest.raises(ScriptFailed):
        run(script("exit 1"))
    assert list((tmp_path / "tmp").iterdir()) == []
