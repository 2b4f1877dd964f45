"""Counts what makes code dense, and fails where a limit is passed: `python scripts/density.py`.

Short code is no aim here. A line that holds one thing is read once; a line that holds four is read four times. The limits are
those that nanochat, gpt-fast, litgpt and peft keep without counting.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DENSE = ("ar_core", "nodes")  # counted per 1000 lines
CHECKED = (*DENSE, "workshop", "benchmarks", "scripts", "tests")  # lines and functions are checked one by one
LONGEST_LINE = 120
LONGEST_FUNCTION = 60  # lines, of product code
TUPLE_ASSIGNMENTS = 5  # per 1000 lines
CONDITIONAL_EXPRESSIONS = 10  # per 1000 lines


@dataclass
class Counts:
    lines: int = 0
    tuple_assignments: int = 0
    conditional_expressions: int = 0

    def add(self, source: str, tree: ast.Module) -> None:
        self.lines += len(source.splitlines())
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                self.tuple_assignments += 1
            if isinstance(node, ast.IfExp):
                self.conditional_expressions += 1

    def per_thousand(self, count: int) -> float:
        return 1000 * count / self.lines


def problems_of(path: Path, source: str, tree: ast.Module) -> list[str]:
    """One line for each long line and each long function of a file."""
    name = path.relative_to(ROOT).as_posix()
    problems = []
    for number, line in enumerate(source.splitlines(), 1):
        if len(line) > LONGEST_LINE:
            problems.append(f"{name}:{number} has {len(line)} characters, at most {LONGEST_LINE} are allowed")
    if name.startswith("tests/"):
        return problems  # a test may list many cases
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                problems.append(
                    f"{name}:{node.lineno} {node.name} has {length} lines, at most {LONGEST_FUNCTION} are allowed"
                )
    return problems


def main() -> int:
    counts = Counts()
    problems = []
    for folder in CHECKED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            problems += problems_of(path, source, tree)
            if folder in DENSE:
                counts.add(source, tree)
    tuples = counts.per_thousand(counts.tuple_assignments)
    conditionals = counts.per_thousand(counts.conditional_expressions)
    if tuples > TUPLE_ASSIGNMENTS:
        problems.append(f"{tuples:.1f} tuple assignments per 1000 lines, at most {TUPLE_ASSIGNMENTS} are allowed")
    if conditionals > CONDITIONAL_EXPRESSIONS:
        problems.append(
            f"{conditionals:.1f} conditional expressions per 1000 lines, at most {CONDITIONAL_EXPRESSIONS} are allowed"
        )
    print("\n".join(problems))
    print(
        f"density of {' and '.join(DENSE)}: {counts.lines} lines, {tuples:.1f} tuple assignments and "
        f"{conditionals:.1f} conditional expressions per 1000 lines"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
