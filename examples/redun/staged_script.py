"""Scripts: other programs as steps, on copies of files, in whatever language they are written.

    valuestore run examples/redun/staged_script.py main --text words.txt

The inputs are staged into a new folder, and what is made there is put in its place when all is well.
"""

from __future__ import annotations

from typing import Any

from valuestore import File, script, task

ORDER = "-rn"


@task
def ranked(text: File) -> dict[str, Any]:
    """The words by how often they are there; how many lines were read, from stdout."""
    return script(  # type: ignore[no-any-return]  # what the outputs say
        f"""
        tr -cs a-z '\\n' < words | sort | uniq -c | sort {ORDER} -k 1,1 > ranking
        wc -l < words
        """,
        inputs=[text.stage("words")],
        outputs={"ranking": File("out/ranking.txt").stage("ranking"), "lines": File("-")},
    )


@task
def longest(text: File) -> str:
    """A script in another language: what its first line says runs it."""
    return script(  # type: ignore[no-any-return]  # the text on stdout
        """
        #!/usr/bin/env python3
        print(max(open("words").read().split(), key=len), end="")
        """,
        inputs={"words": text},
    )


@task(script=True)
def greeting(name: str) -> str:
    return f"echo hello {name}"


@task
def main(text: File) -> dict[str, Any]:
    """Ranking, longest word and a greeting."""
    return {"words": ranked(text), "longest": longest(text), "greeting": greeting("world")}
