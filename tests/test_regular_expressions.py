"""No regular expression of ours takes more than linear time, whatever a stranger writes.

Python's engine goes back and tries again: ``(a+)+$`` takes minutes for thirty letters, ``\\s+$`` sought in a line of
blanks the square of its length. So each expression is tried with what its repetitions eat, again and again, and then
something that does not fit.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as of  # type: ignore[attr-defined] # the only way to see what an expression consists of
from re import _parser as parser  # type: ignore[attr-defined] # Python's own parser, which typeshed leaves out
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("consumer", "producer_tools", "schemas")
METHODS: Final = ("match", "fullmatch", "search", "sub", "findall", "finditer", "split", "subn")
LATIN: Final = "".join(map(chr, range(256)))
LENGTH: Final = 2**13
MOST_S: Final = 0.05
"""What a text of `LENGTH` may take; linear expressions take 0.0005 s, squares 0.3 s."""

OF_FUNCTIONS: Final = {"consumer/imaging.py", "consumer/logs/masking.py"}
"""Files with an expression that is made of what only a function knows: one made a table, which is looked through, and
one joins texts that are escaped."""


@dataclass(frozen=True)
class Expression:
    """``methods`` are the ones that it is used with."""

    where: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


def written_in(path: Path) -> Iterator[Expression]:
    """What a module hands to `re`, in the words of its own globals."""
    text = path.read_text("utf-8")
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
        if node.func.attr in ("compile", *METHODS)
    ]
    if not calls:
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    used = frozenset(re.findall(rf"\.({'|'.join(METHODS)})\(", text)) or frozenset({"search"})
    names = {id(found): name for name, found in vars(module).items() if isinstance(found, re.Pattern)}
    for call in calls:
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        assert isinstance(call.func, ast.Attribute)
        made = call if call.func.attr == "compile" else call.args[0]  # options of the others change no repetition
        try:
            pattern = re.compile(eval(compile(ast.Expression(made), where, "eval"), vars(module)))
        except NameError:
            assert str(path.relative_to(ROOT)) in OF_FUNCTIONS, f"{where}: have it made where its test sees it"
            continue
        name = names.get(id(pattern))
        methods = frozenset(re.findall(rf"\b{name}\.({'|'.join(METHODS)})\(", text)) if name else used
        if call.func.attr != "compile":
            methods = frozenset({call.func.attr})
        yield Expression(where, pattern, methods or used)
    yield from in_globals(path, vars(module), used)


def in_globals(path: Path, names: dict[str, Any], methods: frozenset[str]) -> Iterator[Expression]:
    """Tables of expressions."""
    for name, table in names.items():
        if isinstance(table, tuple | list) and not name.startswith("__"):
            for row in table:
                for one in row if isinstance(row, tuple) else (row,):
                    if isinstance(one, re.Pattern):
                        yield Expression(f"{path.relative_to(ROOT)} {name}", one, methods)


EXPRESSIONS: Final = [
    one for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) for one in written_in(path)
]


# ── texts that an expression may have trouble with ───────────────────────────────────────────────


def example(tree: Any, pick: int) -> str:
    """A short text that fits; ``pick`` chooses among the characters and branches that may stand at a place."""
    return "".join(_example(op, value, pick) for op, value in tree)


def _example(op: Any, value: Any, pick: int) -> str:
    if op is of.LITERAL:
        return chr(value)
    if op is of.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if op is of.ANY:
        return "a.\n"[pick % 3]
    if op is of.IN:
        return _member(value, pick)
    if op is of.BRANCH:
        return example(value[1][pick % len(value[1])], pick)
    if op is of.SUBPATTERN:
        return example(value[3], pick)
    if op in (of.MAX_REPEAT, of.MIN_REPEAT, of.POSSESSIVE_REPEAT):
        low, high, body = value
        times: int = max(low, min(high, pick % 2))
        return example(body, pick) * times
    return ""


def _member(value: Any, pick: int) -> str:
    one = parser.SubPattern(parser.State())
    one.append((of.IN, value))
    fits: list[str] = re._compiler.compile(one, 0).findall(LATIN)  # type: ignore[attr-defined] # Python's own parser, which typeshed leaves out
    return (fits or ["a"])[(0, -1, len(fits) // 2)[pick % 3]]


def repetitions(tree: Any, before: str, pick: int) -> Iterator[tuple[str, str]]:
    """What comes before a repetition, and what it eats."""
    for op, value in tree:
        if op in (of.MAX_REPEAT, of.MIN_REPEAT, of.POSSESSIVE_REPEAT):
            yield before, example(value[2], pick) or example(value[2], pick + 1)
            yield from repetitions(value[2], before, pick)
        elif op is of.SUBPATTERN:
            yield from repetitions(value[3], before, pick)
        elif op is of.BRANCH:
            for branch in value[1]:
                yield from repetitions(branch, before, pick)
        elif op in (of.ASSERT, of.ASSERT_NOT):
            yield from repetitions(value[1], before, pick)
        before += _example(op, value, pick)


def troubles(pattern: re.Pattern[Any]) -> set[tuple[str, str, str]]:
    """Beginnings, what follows again and again, and ends."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    flags = pattern.flags & ~re.UNICODE
    tree = parser.parse(text, flags)
    found = {pair for pick in range(3) for pair in repetitions(tree, "", pick) if pair[1]}
    whole = {("", example(tree, pick)[:50] or "a") for pick in range(3)}
    return {(before, again, end) for before, again in found | whole for end in ("", "\0!")}


def longest_s(expression: Expression) -> float:
    """What the worst text takes. They grow step by step, since what is exponential would never end."""
    worst = 0.0
    is_text = isinstance(expression.pattern.pattern, str)
    for before, again, end in troubles(expression.pattern):
        length = 8.0
        while length <= LENGTH and worst <= MOST_S:
            text = before + again * (int(length) // len(again)) + end
            subject: Any = text if is_text else text.encode("latin-1")
            for method in expression.methods:
                if (took := _took_s(expression.pattern, method, subject)) > MOST_S:  # the collector may have had a turn
                    took = min(took, _took_s(expression.pattern, method, subject))
                worst = max(worst, took)
            length *= 1.1 if length < 100 else 2
    return worst


def _took_s(pattern: re.Pattern[Any], method: str, subject: Any) -> float:
    began = time.thread_time()
    if method.startswith("sub"):
        pattern.sub(subject[:0], subject)
    elif method == "finditer":
        list(pattern.finditer(subject))
    else:
        getattr(pattern, method)(subject)
    return time.thread_time() - began


def test_every_expression_of_the_packages_is_found() -> None:
    files = {one.where.split(":")[0].split()[0] for one in EXPRESSIONS}
    assert {"consumer/fetching/urls.py", "consumer/fetching/http1.py", "consumer/logs/masking.py"} < files
    assert {"consumer/imaging.py _KINDS"} < {one.where for one in EXPRESSIONS}
    assert len(EXPRESSIONS) > 50


def test_no_expression_takes_more_than_linear_time() -> None:
    assert [one.where for one in EXPRESSIONS if longest_s(one) > MOST_S] == []


@pytest.mark.parametrize("bad", [r"(a+)+$", r"x(\w+\s?)*;", r"\s+$", rb"([0-9]+,?)*\n"])
def test_an_expression_that_takes_more_is_found(bad: str | bytes) -> None:
    assert longest_s(Expression("here", re.compile(bad), frozenset({"search"}))) > MOST_S
