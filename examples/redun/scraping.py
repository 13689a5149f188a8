"""Scraping: pages that link to others are fetched, parsed and counted; each step is cached by its input.

    valuestore run examples/redun/scraping.py main --first http://localhost:8000/index.html

A page is a File: it counts by its content, so a page that has changed is parsed again and nothing else is.
The first one is given as a File, too, and not as text: a rerun asks no server that its call does not name.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin

from valuestore import File, cond, flat_map, task

LONGEST = 3
"""How many links are followed from the first page on."""
SHORT = 3
"""Words of fewer letters do not count."""


@task
def links(page: File) -> list[str]:
    found = re.findall(r'href="([^"]+)"', page.read_text())
    return sorted({urljoin(page.path, link) for link in found})


@task
def count(page: File) -> dict[str, int]:
    text = re.sub(r"<[^>]*>", " ", page.read_text()).lower()
    words = [word for word in re.findall(r"\w+", text) if len(word) >= SHORT]
    return {word: words.count(word) for word in dict.fromkeys(words)}


@task
def pages_below(url: str, depth: int) -> list[str]:
    """The addresses that are reached from there in so many steps, it included."""
    if depth == 0:
        return [url]
    return joined(url, flat_map(pages_below.partial(depth=depth - 1), links(File(url))))


@task
def joined(url: str, others: list[str]) -> list[str]:
    return sorted({url, *others})


@task
def counts_of(urls: list[str]) -> list[dict[str, int]]:
    return [count(File(url)) for url in urls]


@task
def most_frequent(counts: list[dict[str, int]]) -> tuple[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for word, times in each.items():
            total[word] = total.get(word, 0) + times
    return max(total.items(), key=lambda pair: (pair[1], pair[0]))


@task
def main(first: File, depth: int = 2) -> tuple[str, int]:
    """The most frequent word of a site, and how often it is there."""
    urls = cond(depth > LONGEST, [first.path], pages_below(first.path, depth))
    return most_frequent(counts_of(urls))
