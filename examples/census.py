"""Census: how large a source tree is, and where its longest functions are.

    valuestore run examples/census.py census
    valuestore run examples/census.py census --tree src --destination report.html

Three layers of tasks: ``measure`` reads one file, ``join`` adds up a package, ``report`` writes one page of
HTML. Run it again and nothing executes; change a file and its own path to the page does, nothing else.
"""

from __future__ import annotations

import ast
import html
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from valuestore import File, Value, task
from valuestore.values.value import Plain

PYTHON = "{}.{}".format(*sys.version_info[:2])
"""Which grammar reads the files. ``measure`` refers to it, so another Python measures anew."""

SKIPPED_FOLDERS = ("site-packages", "dist-packages", "__pycache__")
"""Installed packages and compiled files: neither is part of the tree. The page says so."""

COUNTED = ("files", "lines", "functions", "classes", "imports")
SHOWN_BARS = 20
SHOWN_FUNCTIONS = 20
LONGEST_PROBLEM = 160

warnings.filterwarnings("ignore", module="<unknown>")  # what the compiler thinks of the measured files


class SourceTree(Value):
    """The Python files below a folder. Two trees are equal when root as written, paths and contents are."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = File(root).path  # spelled as the paths of Files are
        self._recorded: list[tuple[str, str | None]] | None = None

    def contents(self) -> list[tuple[str, str | None]]:
        """Path below the root and content digest of each file, sorted; None for a link to nowhere.

        A tree that a task is given lists what its identity was taken from. Raises: OSError.
        """
        if self._recorded is not None:
            return self._recorded
        paths = sorted(python_files(self.root))
        return [(os.path.relpath(path, self.root), File(path).digest()) for path in paths]

    def files(self) -> list[File]:
        """The files, sorted by path."""
        return [File(os.path.join(self.root, path)) for path, _ in self.contents()]

    def identity(self) -> Plain:
        return {"root": self.root, "files": self.contents()}

    @classmethod
    def from_state(cls, state: Plain) -> SourceTree:
        tree = cls(state["root"])
        tree._recorded = state["files"]
        return tree

    def is_valid(self) -> bool:
        try:
            return self.contents() == SourceTree(self.root).contents()
        except OSError:
            return False

    @classmethod
    def parse_arg(cls, text: str) -> SourceTree:
        if not os.path.isdir(text):
            raise ValueError(f"{text!r} is not a folder")
        return cls(text)

    def __repr__(self) -> str:
        return f"SourceTree({self.root!r})"


STANDARD_LIBRARY = SourceTree(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class FileMeasure:
    """One file. Nested functions and methods count; ``longest_lines`` runs from ``def`` to the last line.

    ``problem`` says why a file could not be read or parsed; only its lines are counted then.
    """

    path: str
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0
    longest_function: str = ""
    longest_lines: int = 0
    problem: str = ""


@dataclass(frozen=True)
class PackageMeasure:
    """One package: sums, the files with the longest functions (longest first) and those with a problem."""

    package: str
    files: int
    lines: int
    functions: int
    classes: int
    imports: int
    longest: list[FileMeasure]
    problems: list[FileMeasure]


@task
def census(tree: SourceTree = STANDARD_LIBRARY, destination: str = "census.html") -> File:
    """Measure every Python file of a tree (default: the standard library) and write a page about it."""
    packages: dict[str, list[FileMeasure]] = {}
    for file in tree.files():
        packages.setdefault(package_of(tree, file), []).append(measure(file))
    return report([join(package, measures) for package, measures in sorted(packages.items())], destination)


@task
def measure(file: File) -> FileMeasure:
    """Count what is in one file."""
    try:
        source = file.read_bytes()
    except OSError as error:
        return FileMeasure(file.path, problem=f"it cannot be read: {error.strerror}")
    lines = len(source.splitlines())
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return FileMeasure(file.path, lines, problem=problem_of(error))
    found = list(statements(module))
    functions = [
        (length(statement), -statement.lineno, name)
        for name, statement in found
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    longest_lines, _, longest_function = max(functions, default=(0, 0, ""))
    return FileMeasure(
        path=file.path,
        lines=lines,
        functions=len(functions),
        classes=sum(isinstance(statement, ast.ClassDef) for _, statement in found),
        imports=sum(isinstance(statement, ast.Import | ast.ImportFrom) for _, statement in found),
        longest_function=longest_function,
        longest_lines=longest_lines,
    )


@task
def join(package: str, measures: list[FileMeasure]) -> PackageMeasure:
    """Add up the files of one package."""
    with_functions = [measure for measure in measures if measure.functions]
    return PackageMeasure(
        package=package,
        files=len(measures),
        lines=sum(measure.lines for measure in measures),
        functions=sum(measure.functions for measure in measures),
        classes=sum(measure.classes for measure in measures),
        imports=sum(measure.imports for measure in measures),
        longest=sorted(with_functions, key=by_longest)[:SHOWN_FUNCTIONS],
        problems=[measure for measure in measures if measure.problem],
    )


@task
def report(packages: list[PackageMeasure], destination: str) -> File:
    """Write the page: one file of HTML that needs no script and no network."""
    file = File(destination)
    file.write(page(sorted(packages, key=lambda package: (-package.lines, package.package))))
    return file


# --- measuring ------------------------------------------------------------------------------------


def python_files(root: str) -> Iterator[str]:
    """Paths of the ``.py`` files below a folder, in no order. Raises: OSError for a folder it cannot list."""
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def _raise(error: OSError) -> None:
    raise error


def package_of(tree: SourceTree, file: File) -> str:
    """Dotted name of the folder that the file is in; empty at the root."""
    return os.path.dirname(os.path.relpath(file.path, tree.root)).replace(os.sep, ".")


def statements(module: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Every statement with its dotted name in the file: its own for a definition, else its scope's.

    Expressions are not searched, since none holds a statement; nor is there recursion, however deep the code.
    """
    pending: list[tuple[str, ast.AST]] = [("", module)]
    while pending:
        scope, node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}" if scope else node.name
        if isinstance(node, ast.stmt):
            yield scope, node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, ())
            if isinstance(inner, list):  # the body of a lambda is an expression
                pending.extend((scope, child) for child in inner)


def problem_of(error: Exception) -> str:
    """Why a file cannot be parsed, in one bounded line."""
    where = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
    return f"Python {PYTHON} cannot parse it{where}: {reason}"[:LONGEST_PROBLEM]


def length(statement: ast.stmt) -> int:
    """Lines from the first to the last, both included; decorators stand before the first."""
    assert statement.end_lineno is not None
    return statement.end_lineno - statement.lineno + 1


def by_longest(measure: FileMeasure) -> tuple[int, str]:
    """Sort key: longest function first, then by path."""
    return -measure.longest_lines, measure.path


# --- the page -------------------------------------------------------------------------------------

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2024; --quiet: #60646c; --line: #d9d9e0; --bar: #3e63dd; --page: #fcfcfd;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #edeef0; --quiet: #b0b4ba; --line: #363a3f; --bar: #7d9bff; --page: #111113; }
}
body {
  margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem;
  background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; }
p, figcaption { color: var(--quiet); margin: .25rem 0 .75rem; max-width: 42rem; }
figure, .scroll { margin: 0; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 38rem; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .value { fill: var(--quiet); font-variant-numeric: tabular-nums; }
svg rect { fill: var(--bar); }
svg line { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; }
th { color: var(--quiet); font-weight: 600; }
td { vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-left: .75rem; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Census of a source tree</title>
<style>{style}</style>
</head>
<body>
<h1>{lines} lines of Python</h1>
<p>{files} files in {packages} packages, with {functions} functions, {classes} classes and {imports} import
statements, read with the grammar of Python {python}. Not part of the tree: folders named {skipped}.</p>
<h2>Where the lines are</h2>
<figure>
{plot}
</figure>
<h2>The longest functions</h2>
<p>The longest of each file, from <code>def</code> to the last line.</p>
{longest_table}
<h2>Files with a problem</h2>
{problem_table}
<h2>Packages</h2>
{package_table}
</body>
</html>
"""


def page(packages: list[PackageMeasure]) -> str:
    """The page about these packages, largest first."""
    longest = sorted([measure for package in packages for measure in package.longest], key=by_longest)
    problems = [measure for package in packages for measure in package.problems]
    return PAGE.format(
        style=STYLE,
        python=PYTHON,
        packages=number(len(packages)),
        **{name: number(sum(getattr(package, name) for package in packages)) for name in COUNTED},
        skipped=", ".join(SKIPPED_FOLDERS),
        plot=plot(packages),
        longest_table=table(
            ["Function", "File", "Lines"],
            [[m.longest_function, m.path, m.longest_lines] for m in longest[:SHOWN_FUNCTIONS]],
        ),
        problem_table=table(["File", "Problem"], [[m.path, m.problem] for m in problems]),
        package_table=table(
            ["Package", "Files", "Lines", "Functions", "Classes", "Imports", "Longest function"],
            [
                [title(p), p.files, p.lines, p.functions, p.classes, p.imports, longest_lines(p)]
                for p in packages
            ],
        ),
    )


def plot(packages: list[PackageMeasure]) -> str:
    """Horizontal bars of lines by package, largest first, as SVG; the rest is named in the caption."""
    shown, rest = packages[:SHOWN_BARS], packages[SHOWN_BARS:]
    most = max([package.lines for package in shown], default=0) or 1
    step, bar, left, width = 26, 16, 200, 900
    bars = []
    for index, package in enumerate(shown):
        name, lines = title(package), number(package.lines)
        top = index * step + (step - bar) // 2
        base = top + bar - 4
        long = max(1, round(package.lines / most * (width - left - 80)))
        bars.append(
            f"<g><title>{text(name)}: {lines} lines in {number(package.files)} files</title>"
            f'<text x="{left - 10}" y="{base}" text-anchor="end">{text(shortened(name))}</text>'
            f'<rect x="{left}" y="{top}" width="{long}" height="{bar}" rx="2"/>'
            f'<text class="value" x="{left + long + 8}" y="{base}">{lines}</text></g>'
        )
    height = max(step, len(shown) * step)
    caption = "Lines by package, nested packages apart."
    if rest:
        together = number(sum(package.lines for package in rest))
        caption += f" Not drawn: {number(len(rest))} smaller ones with {together} lines together."
    return "\n".join(
        [
            f"<figcaption>{caption}</figcaption>",
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Bar chart of lines by package">',
            f'<line x1="{left}" y1="0" x2="{left}" y2="{height}"/>',
            *bars,
            "</svg>",
        ]
    )


def table(heads: list[str], rows: list[list[str | int]]) -> str:
    """An HTML table; numbers are right-aligned with thousands apart."""
    if not rows:
        return "<p>None.</p>"
    numeric = [isinstance(cell, int) for cell in rows[0]]
    lines = ["<tr>" + "".join(map(cell_of, row, numeric)) + "</tr>" for row in rows]
    head = "".join([cell_of(name, right, "th") for name, right in zip(heads, numeric, strict=True)])
    return "\n".join(
        [
            '<div class="scroll"><table>',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


def cell_of(content: str | int, numeric: bool, tag: str = "td") -> str:
    """One cell; a path may go on in the next line after a slash."""
    shown = number(content) if isinstance(content, int) else text(content).replace("/", "/<wbr>")
    return f'<{tag} class="number">{shown}</{tag}>' if numeric else f"<{tag}>{shown}</{tag}>"


def title(package: PackageMeasure) -> str:
    """Its name for people."""
    return package.package or "(top level)"


def longest_lines(package: PackageMeasure) -> int:
    """Lines of its longest function."""
    return package.longest[0].longest_lines if package.longest else 0


def shortened(name: str, most: int = 28) -> str:
    """A name that fits beside its bar: its end tells packages apart."""
    return name if len(name) <= most else "…" + name[1 - most :]


def number(count: int) -> str:
    """With thousands apart by a thin space that does not break."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def text(raw: str) -> str:
    """Anything as HTML text; bytes of a file name that are no UTF-8 are shown as escapes."""
    return html.escape(raw.encode("utf-8", "backslashreplace").decode("utf-8"))
