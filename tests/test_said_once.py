"""Said once: facts that the package used to say in several places, each with the one place it has now.

A second place is found in the syntax of the modules, so it does not matter how it is laid out. Each finder
is shown to find one, as it might be written by somebody who does not know of the first.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "valuestore"
ATOMS = {"type(None)", "bool", "int", "float", "str", "bytes"}
ALGORITHMS = {"xxh3-128", "blake3-256"}


@cache
def modules():
    """The syntax of each module, by its path in the package; without the suites that third parties run."""
    files = sorted(PACKAGE.rglob("*.py"))
    paths = {str(file.relative_to(PACKAGE)): file for file in files}
    return {
        path: ast.parse(file.read_text("utf-8"))
        for path, file in paths.items()
        if not path.startswith("testing/")
    }


@cache
def by_kind(tree):
    found = defaultdict(list)
    for node in ast.walk(tree):
        found[type(node)].append(node)
    return found


def each(tree, *kinds):
    return (node for kind in kinds for node in by_kind(tree)[kind])


def texts(tree):
    """Texts of the program, without those that stand alone: docstrings."""
    alone = {id(node.value) for node in each(tree, ast.Expr)}
    return [
        node.value
        for node in each(tree, ast.Constant)
        if isinstance(node.value, str) and id(node) not in alone
    ]


def written(node):
    """What a list, tuple or set of the program holds, as it is written."""
    return set(map(ast.unparse, node.elts))


def chosen(tree):
    """Texts and numbers that are compared, chosen by ``if`` or given in one call: those of one together."""
    for node in each(tree, ast.Compare, ast.IfExp, ast.Call):
        parts = node.args if isinstance(node, ast.Call) else ast.walk(node)
        yield {
            part.value
            for part in parts
            if isinstance(part, ast.Constant) and isinstance(part.value, str | int)
        }


# --- finders: whether a module says it --------------------------------------------------------------------


def says_secret_words(tree):
    """A word that only such a list has, or one of several in a pattern."""
    return any(
        "passphrase" in text or "pwd" in text or ("|" in text and ("passw" in text or "credential" in text))
        for text in texts(tree)
    )


def says_atoms(tree):
    return any(
        len(ATOMS & held) > (2 if "type(None)" in held else 4)
        for node in each(tree, ast.Tuple, ast.List, ast.Set)
        if len(node.elts) > 2 and (held := written(node))
    )


def says_digest_lengths(tree):
    return (
        any(len(node.elts) == 2 and written(node) == {"32", "64"} for node in each(tree, ast.Tuple, ast.Set))
        or any(ALGORITHMS & found and {32, 64} & found for found in chosen(tree))
        or any("[0-9a-f]{32}" in text for text in texts(tree))
    )


def loads_names_lazily(tree):
    return any(
        isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__") for node in tree.body
    )


def names(word):
    """A finder of what has that name, of a module or in it."""

    def says(tree):
        return any(
            word in (getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "name", ""))
            for node in each(tree, ast.Attribute, ast.Name, ast.alias)
        )

    return says


def pages_through_keys(tree):
    """A loop that goes on from the cursor that a page gave."""
    return any(
        isinstance(node, ast.NamedExpr | ast.Assign) and ast.unparse(node.value).endswith("page.cursor")
        for loop in each(tree, ast.While)
        for node in ast.walk(loop)
    )


@cache
def record_classes():
    return {node.name for node in modules()["db/history/records.py"].body if isinstance(node, ast.ClassDef)}


def declares_columns_of_records(tree):
    """A function from a row to a record: a call of its class, column by column."""
    return any(
        isinstance(node.func, ast.Name)
        and node.func.id in record_classes()
        and any(ast.unparse(part).startswith("row") for part in (*node.args, *node.keywords))
        for node in each(tree, ast.Call)
    )


FACTS = {
    "secret words": (
        says_secret_words,
        ["redaction.py"],
        "HIDE = re.compile('passw|token', re.I)",
    ),
    "the set of atoms": (
        says_atoms,
        ["hashing.py"],
        "PLAIN = (type(None), int, float, str)",
    ),
    "lengths of digests": (
        says_digest_lengths,
        ["hashing.py"],
        "length = 64 if algorithm == 'blake3-256' else 32",
    ),
    "loading of names on first use": (
        loads_names_lazily,
        [],  # lazy.py makes them
        "def __getattr__(name):\n    return getattr(import_module(HOMES[name]), name)",
    ),
    "what is done after a fork": (
        names("register_at_fork"),
        ["lazy.py"],
        "os.register_at_fork(after_in_child=renew)",
    ),
    "which process this is": (  # the name of a temporary file, and holders that outlive a process
        names("getpid"),
        ["cli/keep/setting.py", "db/engine/driver.py", "lazy.py", "locks.py"],
        "from os import getpid",
    ),
    "paging through keys": (
        pages_through_keys,
        ["stores/base.py"],
        "while True:\n    page = store.list(cursor=cursor)\n    if (cursor := page.cursor) is None: break",
    ),
    "cursors as text": (
        names("urlsafe_b64decode"),
        ["db/history/query.py"],
        "json.loads(base64.urlsafe_b64decode(cursor))",
    ),
    "columns of records": (
        declares_columns_of_records,
        [],  # records.py makes readers of the fields of its classes
        "def _record(row):\n    return JobRecord(row.job_id, row.status)",
    ),
}


@pytest.mark.parametrize("fact", FACTS)
def test_it_is_said_once(fact):
    says, homes, _ = FACTS[fact]
    assert [path for path, tree in modules().items() if says(tree)] == homes


@pytest.mark.parametrize("fact", FACTS)
def test_a_second_would_be_found(fact):
    says, _, second = FACTS[fact]
    assert says(ast.parse(second))


def test_a_finder_does_not_mind_what_is_not_said():
    tree = ast.parse(
        '"""Hides passphrase|token, for 32 or 64 digits."""\nrow = JobRecord\nsizes = (8, 32, 64)'
    )
    assert [fact for fact, (says, *_) in FACTS.items() if says(tree)] == []
