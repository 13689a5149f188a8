"""Checkout: runs are labelled with the commit they started from, and start wherever they are."""

from __future__ import annotations

import subprocess

import pytest

from valuestore import Scheduler, task
from valuestore.scheduler.labels import Checkout, find_checkout


@task(version="1", namespace="tests", name="same")
def same(value):
    return value


@pytest.fixture
def git(tmp_path):
    def run(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        asked = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path / "main", check=True, capture_output=True, text=True
        )
        return asked.stdout.strip()

    (tmp_path / "main").mkdir()
    run("init", "--quiet")
    return run


def tags_of_a_run(tmp_path):
    Checkout._known.clear()
    with Scheduler(tmp_path / "repository") as scheduler:
        scheduler.run(same(1))
        return scheduler.repository.tags.get("-")


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr("valuestore.scheduler.labels._PATIENCE_SECONDS", 20)


def test_a_run_is_labelled_with_the_commit_and_whether_there_are_changes(git, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "main")
    found = tags_of_a_run(tmp_path)
    assert "git.commit" not in found
    assert found["git.dirty"] is False
    (tmp_path / "main" / "file").write_text("1")
    git("add", "file")
    assert tags_of_a_run(tmp_path)["git.dirty"] is True
    git("commit", "--quiet", "-m", "first")
    found = tags_of_a_run(tmp_path)
    assert (found["git.commit"], found["git.dirty"]) == (git("rev-parse", "HEAD"), False)


def test_a_damaged_checkout_gives_no_label(git, tmp_path, monkeypatch):
    (tmp_path / "main" / ".git" / "HEAD").write_text("not a commit")
    monkeypatch.chdir(tmp_path / "main")
    assert not {"git.commit", "git.dirty"} & tags_of_a_run(tmp_path).keys()


def test_a_folder_below_is_in_the_checkout(git, tmp_path, monkeypatch):
    (tmp_path / "main" / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "main" / "a" / "b")
    assert find_checkout() == tmp_path / "main"


def test_a_worktree_has_a_commit_and_changes(git, tmp_path, monkeypatch):
    (tmp_path / "main" / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "-m", "first")
    git("worktree", "add", "../other")
    (tmp_path / "other" / "file").write_text("2")
    monkeypatch.chdir(tmp_path / "other")
    found = tags_of_a_run(tmp_path)
    assert (found["git.commit"], found["git.dirty"]) == (git("rev-parse", "HEAD"), True)


def test_a_run_from_a_folder_that_is_gone_works(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with Scheduler(tmp_path / "repository") as scheduler:
        assert scheduler.run(same(1)) == 1
