"""script: a shell command on copies of files, cached by its text and their content."""

from __future__ import annotations

import pickle

import pytest

from valuestore import Dir, File, Scheduler, task
from valuestore.errors import ArgumentError, ScriptFailed, TaskError
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


# --- as people write it ---------------------------------------------------------------------------


def test_the_first_line_says_what_runs_it():
    python = "#!/usr/bin/env python3\nprint(open('words.txt').read().upper(), end='')"
    assert run(script(python, File("in/words.txt"))) == ("B\nA\n", 1)
    indented = """
        #!/usr/bin/env -S python3 -u
        import sys
        if len(sys.argv) == 1:
            print("indented")
    """
    assert run(script(indented))[0] == "indented\n"
    assert run(script("#!/bin/sh\necho $UNDEFINED_HERE; false; echo on"))[0] == "\non\n"  # no -eu of ours


def test_an_interpreter_that_is_not_there_is_told():
    with pytest.raises(ScriptFailed, match="echo a.*/no/such/program cannot be started: No such file"):
        run(script("#!/no/such/program -x\necho a"))


def test_stdout_is_an_output_beside_files():
    outputs = {"sorted": File("out/sorted.txt").stage("s"), "log": File("-")}
    made, ran = run(script("sort words.txt > s; echo sorted", File("in/words.txt"), outputs))
    assert (made, ran) == ({"sorted": File("out/sorted.txt"), "log": "sorted\n"}, 1)
    assert made["sorted"].read() == "a\nb\n"
    assert run(script("sort words.txt > s; echo sorted", File("in/words.txt"), outputs)) == (made, 0)
    assert run(script("echo a", outputs=File("-")))[0] == "a\n"
    assert run(script("echo a; touch b", outputs=[File("-"), File("b")]))[0] == ["a\n", File("b")]


def test_outputs_are_given_back_in_whatever_they_were():
    outputs = {"parts": [File("out/a"), (File("out/b").stage("c"), File("-"))], "none": {}}
    made, _ = run(script("echo 1 > a; echo 2 > c; echo 3", {"of": [File("in/words.txt")]}, outputs))
    assert made == {"parts": [File("out/a"), (File("out/b"), "3\n")], "none": {}}
    assert (made["parts"][0].read(), made["parts"][1][0].read()) == ("1\n", "2\n")


def test_a_stage_names_the_file_also_in_a_dict():
    made, _ = run(
        script(
            "cat mine > theirs", {"x": File("in/words.txt").stage("mine")}, {"y": File("o").stage("theirs")}
        )
    )
    assert made == {"y": File("o")}
    assert made["y"].read() == "b\na\n"


def test_two_files_of_one_name_are_told_by_name():
    with pytest.raises(ArgumentError, match=r"File\('a/x'\) and Dir\('b/x'\) are both called 'x'"):
        script("true", outputs=[File("a/x"), Dir("b/x")])
    with pytest.raises(ArgumentError, match=r"File\('a/x'\) and File\('b'\) are both called 'x'"):
        script("true", outputs={"x": File("a/x"), "y": File("b").stage("x")})
    with pytest.raises(ArgumentError, match=r"two of the outputs are File\('a/x'\)"):
        script("true", outputs=[File("a/x").stage("1"), File("a/x").stage("2")])
    File("more/words.txt").write("")
    with pytest.raises(ArgumentError, match=r"File\('in/words.txt'\) and File\('more/words.txt'\) are both"):
        run(script("true", [File("in/words.txt"), File("more/words.txt")]))


@pytest.mark.parametrize("where", [{"tempdir": False}, {"folder": "."}])
def test_in_the_working_folder_files_are_used_where_they_are(where):
    call = script(
        "sort in/words.txt > out.txt; echo done", File("in/words.txt"), [File("out.txt"), File("-")], **where
    )
    made, ran = run(call)
    assert (made[0].read(), made[1], ran) == ("a\nb\n", "done\n", 1)
    assert run(call) == (made, 0)
    File("in/words.txt").write("c\n")
    again = script(
        "sort in/words.txt > out.txt; echo done", File("in/words.txt"), [File("out.txt"), File("-")], **where
    )
    assert run(again)[1] == 1


def test_in_a_folder_of_ones_own_only_what_is_named_is_copied(tmp_path):
    named = {"folder": Dir("work/here"), "inputs": [File("in/words.txt").stage("w")]}
    made, _ = run(script("pwd; sort w > s", outputs=[File("-"), File("out/s").stage("s")], **named))
    assert made == [f"{tmp_path}/work/here\n", File("out/s")]
    assert sorted(file.path for file in Dir("work")) == ["work/here/s", "work/here/w"]
    assert run(script("pwd", folder="work/here"))[0] != run(script("pwd"))[0]


def test_an_output_that_is_not_in_its_place_is_missed():
    with pytest.raises(ScriptFailed, match="made no File 'gone.txt'"):
        run(script("true", outputs=File("gone.txt"), tempdir=False))
    with pytest.raises(ArgumentError, match="local folder"):
        script("true", folder="s3://bucket/run")


# --- @task(script=True) ---------------------------------------------------------------------------

FACTOR = 2


@task(script=True)
def repeated(file: File, times: int = FACTOR) -> str:
    return f"""
        #!/usr/bin/env python3
        print(open({file.path!r}).read() * {times}, end="")
    """


def test_what_a_script_task_returns_is_run():
    assert run(repeated(File("in/words.txt"))) == ("b\na\n" * 2, 1)
    assert run(repeated(File("in/words.txt"))) == ("b\na\n" * 2, 0)
    assert run(repeated(File("in/words.txt"), times=1)) == ("b\na\n", 1)
    File("in/words.txt").write("c")
    assert run(repeated(File("in/words.txt"))) == ("cc", 1)
    assert repeated.func(File("x")).strip().startswith("#!")
    assert repr(repeated).endswith("test_script.repeated>")


def test_a_failure_of_a_script_task_is_an_error_of_its_job():
    @task(script=True)
    def fails(code: int) -> str:
        return f"echo oops >&2; exit {code}"

    with pytest.raises(ScriptFailed, match="oops") as caught:
        run(fails(4))
    assert caught.value.exit_code == 4
    assert "fails" in caught.value.__notes__[0]


def test_a_script_task_is_another_task_than_the_one_that_gives_the_text():
    def text(n: int) -> str:
        return f"echo {n}"

    for options in ({}, {"version": "1"}):
        named = {"name": "text", "namespace": "of_scripts", **options}
        assert run(task(**named)(text)(1)) == ("echo 1", 1)
        assert run(task(script=True, **named)(text)(1)) == ("1\n", 1)
        assert run(task(script=False, **named)(text)(1)) == ("echo 1", 0)


def test_edits_of_a_script_task_are_seen(monkeypatch):
    import sys

    assert run(scaled(3)) == ("6\n", 1)
    assert run(scaled(3)) == ("6\n", 0)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5)
    assert run(scaled(3)) == ("15\n", 1)


@task(script=True)
def scaled(n: int) -> str:
    return f"echo $(( {n} * {FACTOR} ))"


def test_a_script_task_that_gives_no_text_and_a_wrong_option_are_refused():
    @task(script=True)
    def nothing() -> str:
        return ""

    with pytest.raises(ArgumentError, match="nothing.*non-empty"):
        run(nothing())
    with pytest.raises(TaskError, match="script='bash'"):
        task(script="bash")
