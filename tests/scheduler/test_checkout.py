"""Checkout: runs are labelled with the commit they started from, and start wherever they are."""

from __future__ import annotations

import subprocess

import pytest

from valuestore import Scheduler, task
from valuestore.scheduler.labels import find_checkout, git_commit


@task(version="1", namespace="tests", name="same")
def same(value):
    return value


@pytest.fixture
def git(tmp_path):
    folder = tmp_path / ".git"
    (folder / "refs" / "heads").mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_the_commit_is_that_of_the_branch_or_of_the_head_alone(git, tmp_path):
    assert git_commit(tmp_path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{'b' * 40} refs/heads/main\n")
    assert git_commit(tmp_path) == "b" * 40
    (git / "refs" / "heads" / "main").write_text("a" * 40 + "\n")
    assert git_commit(tmp_path) == "a" * 40
    (git / "HEAD").write_text("c" * 64)
    assert git_commit(tmp_path) == "c" * 64


@pytest.mark.parametrize("head", ["ref: ../../notes", "not a commit", "", "x" * 10_000])
def test_what_is_no_commit_is_not_taken_for_one(git, tmp_path, head):
    (tmp_path / "notes").write_text("private words\n")
    (git / "HEAD").write_text(head)
    assert git_commit(tmp_path) is None


def test_a_folder_below_is_in_the_checkout(git, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_checkout() == tmp_path


def test_a_worktree_has_a_commit_and_changes(tmp_path, monkeypatch):
    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path / "main", check=True, capture_output=True)

    (tmp_path / "main").mkdir()
    git("init", "--quiet")
    (tmp_path / "main" / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "-m", "first")
    git("worktree", "add", "../other")
    (tmp_path / "other" / "file").write_text("2")
    monkeypatch.chdir(tmp_path / "other")
    commit = git_commit(tmp_path / "main")
    with Scheduler(tmp_path / "repository") as scheduler:
        scheduler.run(same(1))
        found = scheduler.repository.tags.get("-")
    assert found["git.commit"] == commit
    assert found.get("git.dirty", True) is True


def test_a_run_from_a_folder_that_is_gone_works(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with Scheduler(tmp_path / "repository") as scheduler:
        assert scheduler.run(same(1)) == 1
