"""A contract of import-linter: no module imports itself by way of others, inside a room or across rooms.

Imports for type checking count. Named in pyproject.toml.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from importlinter import Contract, ContractCheck, output


class AcyclicContract(Contract):
    """Broken by the first circle found, which it shows."""

    def check(self, graph, verbose):
        imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
        try:
            TopologicalSorter(imports).prepare()
        except CycleError as error:
            return ContractCheck(kept=False, metadata={"circle": error.args[1]})
        return ContractCheck(kept=True)

    def render_broken_contract(self, check):
        output.print_error(" <- ".join(check.metadata["circle"]), bold=True)
