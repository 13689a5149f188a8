"""Allele frequencies: a table of counts over a folder of samples, and one report from all of them.

    valuestore run examples/redun/allele_frequency.py main --samples samples --report report.tsv

Each sample is a file of its own argument, so a sample that is added or corrected costs its own count and the
report. Files are named by lines such as ``rs42 A G``: a site and the two alleles that were read there.
"""

from __future__ import annotations

from collections import Counter

from valuestore import Dir, File, task

REFERENCE = {"rs1": "A", "rs2": "C", "rs3": "G"}
DIGITS = 3


@task
def alleles(sample: File) -> dict[str, dict[str, int]]:
    """How often each allele was read, by site."""
    found: dict[str, Counter[str]] = {}
    for line in sample.readlines():
        site, *read = line.split()
        found.setdefault(site, Counter()).update(read)
    return {site: dict(counter) for site, counter in found.items()}


@task
def merged(parts: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {
        site: Counter() for site in sorted({site for part in parts for site in part})
    }
    for part in parts:
        for site, counts in part.items():
            total[site].update(counts)
    return {site: dict(sorted(counter.items())) for site, counter in total.items()}


@task
def written(counts: dict[str, dict[str, int]], path: str) -> File:
    """A line for each site: how often its allele is not that of the reference."""
    report = File(path)
    with report.open("w") as table:
        for site, found in counts.items():
            others = sum(n for allele, n in found.items() if allele != REFERENCE.get(site))
            print(site, f"{others / sum(found.values()):.{DIGITS}f}", sep="\t", file=table)
    return report


@task
def main(samples: Dir, report: str = "report.tsv") -> File:
    """The table of frequencies of all samples."""
    return written(merged([alleles(sample) for sample in samples if sample.path.endswith(".txt")]), report)
