"""Counts what makes code dense, and fails where a limit is passed: `python scripts/density.py`.

Short code is no aim here. A line that holds one thing is read once; a line that holds four is read four times. The
limits are those that nanochat, gpt-fast, litgpt and peft keep without counting.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DENSE = ("ar_core", "nodes")  # counted per 1000 lines
CHECKED = (*DENSE, "workshop", "benchmarks", "scripts", "tests")  # lines and functions are checked one by one
LONGEST_LINE = 120  # characters
LONGEST_FUNCTION = 60  # lines, of product code
TUPLE_ASSIGNMENTS = 5  # per 1000 lines
CONDITIONAL_EXPRESSIONS = 10  # per 1000 lines


@dataclass
class Counts:
    """What was counted so far, over all files of one folder or of several."""

    lines: int = 0
    tuple_assignments: int = 0
    conditional_expressions: int = 0

    def add(self, source: str, tree: ast.Module) -> None:
        self.lines += len(source.splitlines())
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(map(is_tuple, node.targets)):
                self.tuple_assignments += 1
            if isinstance(node, ast.IfExp):
                self.conditional_expressions += 1

    def per_thousand(self, count: int) -> float:
        return 1000 * count / max(1, self.lines)

    def problems(self) -> list[str]:
        found = []
        tuples = self.per_thousand(self.tuple_assignments)
        if tuples > TUPLE_ASSIGNMENTS:
            found.append(f"{tuples:.1f} tuple assignments per 1000 lines, at most {TUPLE_ASSIGNMENTS} are allowed")
        conditionals = self.per_thousand(self.conditional_expressions)
        if conditionals > CONDITIONAL_EXPRESSIONS:
            limit = f"at most {CONDITIONAL_EXPRESSIONS} are allowed"
            found.append(f"{conditionals:.1f} conditional expressions per 1000 lines, {limit}")
        return found

    def __str__(self) -> str:
        return (
            f"{self.lines} lines, {self.per_thousand(self.tuple_assignments):.1f} tuple assignments and "
            f"{self.per_thousand(self.conditional_expressions):.1f} conditional expressions per 1000 lines"
        )


def is_tuple(target: ast.expr) -> bool:
    """Whether `target = ...` gives values to several names, as `a, b`, `(a, b)` or `[a, b]`."""
    return isinstance(target, ast.Tuple | ast.List)


def long_lines(name: str, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        if len(line) > LONGEST_LINE:
            yield f"{name}:{number} has {len(line)} characters, at most {LONGEST_LINE} are allowed"


def long_functions(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > LONGEST_FUNCTION:
            yield f"{name}:{node.lineno} {node.name} has {length} lines, at most {LONGEST_FUNCTION} are allowed"


def main() -> int:
    whole = Counts()
    problems: list[str] = []
    for folder in CHECKED:
        counts = Counts()
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            problems += long_lines(name, source)
            if folder != "tests":  # a test may list many cases
                problems += long_functions(name, tree)
            counts.add(source, tree)
            if folder in DENSE:
                whole.add(source, tree)
        print(f"{folder}: {counts}")
    problems += whole.problems()
    print(f"{' and '.join(DENSE)}: {whole}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return min(1, len(problems))


if __name__ == "__main__":
    sys.exit(main())
