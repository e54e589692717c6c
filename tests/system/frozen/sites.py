"""Every place in the source that makes an error, found by reading it, and the errors made there.

A place is a call of one of our exception classes. Its arguments are evaluated in the module: what differs (a serial
number, another message) becomes HOLE, a choice between texts becomes both.
"""

from __future__ import annotations

import ast
import builtins
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import GenericAlias
from typing import Any

from tests.system.frozen import names

HOLE = "…"
_MOST = 12


@dataclass(frozen=True)
class Site:
    """One error that one place can make."""

    where: str
    error: BaseException


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Name and source of every module that can raise for the outside."""
    for top in names.PACKAGES:
        for path in sorted((names.ROOT / top).rglob("*.py")):
            parts = path.relative_to(names.ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            left_out = (*names.NOT_OUTWARD, *names.NOT_IMPORTABLE)
            if not any(name == other or name.startswith(f"{other}.") for other in left_out):
                yield name, ast.parse(path.read_text("utf-8"))


def sites() -> Iterator[Site]:
    """All places, in the order of the source."""
    for name, tree in modules():
        yield from _Reader(name, tree).sites()


def strangers() -> list[str]:
    """What is raised that is no place: neither one of our exceptions, nor a variable or the result of a function of
    ours, whose own places are read."""
    source = list(modules())
    functions = {node.name for _, tree in source for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = []
    for name, tree in source:
        reader = _Reader(name, tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call | ast.Name):
                kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                called = kind.attr if isinstance(kind, ast.Attribute) else ast.unparse(kind)
                passed_on = called in functions if isinstance(node.exc, ast.Call) else not reader.is_class(kind)
                if not (reader.is_place(node.exc) or passed_on):
                    found.append(f"{name}:{node.lineno} raises {called}")
    return found


class _Reader:
    """One module."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self._name = name
        self._tree = tree
        self._known: dict[str, Any] = dict(vars(import_module(name)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith(names.PACKAGES):
                for alias in node.names:
                    if (alias.asname or alias.name) not in self._known:
                        self._known[alias.asname or alias.name] = _imported(node.module or "", alias.name)

    def sites(self) -> Iterator[Site]:
        for scope, node in _with_scopes(self._tree, self._tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
                kind = self._known.get(node.exc.id)
                if _is_outward(kind):
                    yield Site(f"{self._name}:{node.lineno}", kind())
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Attribute) and node.func.attr in names.WITH_REASONS and node.args:
                named = {str(keyword.arg): self._values(scope, keyword.value)[0] for keyword in node.keywords}
                for reasons in self._values(scope, node.args[0]):
                    if isinstance(reasons, list):
                        yield Site(f"{self._name}:{node.lineno}", names.no_pin_error(reasons, **named))
            kind = self._value_of(node.func)
            if _is_outward(kind):
                for error in self._errors(kind, scope, node):
                    yield Site(f"{self._name}:{node.lineno}", error)

    def is_place(self, raised: ast.expr) -> bool:
        """Whether `sites` finds this one."""
        return _is_outward(self._value_of(raised.func if isinstance(raised, ast.Call) else raised))

    def is_class(self, node: ast.expr) -> bool:
        return isinstance(self._value_of(node), type)

    def _value_of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self._known.get(node.id, getattr(builtins, node.id, None))
        if isinstance(node, ast.Attribute):
            return getattr(self._value_of(node.value), node.attr, None)
        return None

    def _errors(self, kind: Any, scope: ast.AST, call: ast.Call) -> Iterator[BaseException]:
        places = [self._values(scope, value) for value in call.args]
        named = [(keyword.arg, self._values(scope, keyword.value)) for keyword in call.keywords]
        for chosen in itertools.islice(itertools.product(*places, *(values for _, values in named)), _MOST):
            keywords = dict(zip([str(name) for name, _ in named], chosen[len(places) :], strict=True))
            yield _made(kind, chosen[: len(places)], keywords)

    def _values(self, scope: ast.AST, node: ast.expr, depth: int = 0) -> list[Any]:
        """What an expression can be."""
        if depth > 6:
            return [HOLE]
        match node:
            case ast.Constant(value):
                return [value]
            case ast.IfExp(_, body, orelse):
                return _unique([*self._values(scope, body, depth + 1), *self._values(scope, orelse, depth + 1)])
            case ast.JoinedStr(parts):
                pieces = [self._piece(scope, part, depth) for part in parts]
                return ["".join(choice) for choice in itertools.islice(itertools.product(*pieces), _MOST)]
            case ast.BinOp(left, ast.Add(), right):
                sides = [self._values(scope, side, depth + 1) for side in (left, right)]
                return ["".join(map(str, choice)) for choice in itertools.islice(itertools.product(*sides), _MOST)]
            case ast.List(parts):
                return [
                    list(choice) for choice in itertools.product(*(self._values(scope, p, depth + 1) for p in parts))
                ]
            case ast.Name(name) if name not in self._known or not _is_module_level(self._tree, name):
                given = _given(scope, name)
                if given:
                    return _unique([value for one in given for value in self._values(scope, one, depth + 1)])
                return [self._known.get(name, HOLE)] if not _is_local(scope, name) else [HOLE]
            case ast.Name(name):
                return [self._known[name]]
            case ast.Attribute():
                found = self._value_of(node)
                return [HOLE if found is None else found]
        return [HOLE]

    def _piece(self, scope: ast.AST, part: ast.expr, depth: int) -> list[str]:
        if isinstance(part, ast.FormattedValue):
            values = self._values(scope, part.value, depth + 1)
            return _unique(
                [value if isinstance(value, str) else str(value) if type(value) is int else HOLE for value in values]
            )
        return [str(value) for value in self._values(scope, part, depth + 1)]


def _imported(module: str, name: str) -> Any:
    found = import_module(module)
    try:
        return getattr(found, name)
    except AttributeError:
        return import_module(f"{module}.{name}")


def _is_outward(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and not isinstance(kind, GenericAlias)  # Python 3.10 takes tuple[int] for a class
        and issubclass(kind, BaseException)
        and (kind.__module__.startswith(names.PACKAGES) or issubclass(kind, names.FOREIGN_ERRORS))
    )


def _made(kind: Any, values: tuple[Any, ...], keywords: dict[str, Any]) -> BaseException:
    """The error; a hole where a number has to be is 7."""
    for filled in (values, tuple(7 if value == HOLE else value for value in values), values[:1]):
        try:
            error: BaseException = kind(*filled, **keywords)
            str(error)
        except (TypeError, ValueError, AttributeError):
            continue
        return error
    raise TypeError(f"{kind.__name__}{values} cannot be made")


def _with_scopes(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield scope, child
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        yield from _with_scopes(child, inner)


def _given(scope: ast.AST, name: str) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]


def _is_local(scope: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.arg) and node.arg == name for node in ast.walk(scope)) or any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in ast.walk(scope)
    )


def _is_module_level(tree: ast.Module, name: str) -> bool:
    return not any(isinstance(node, ast.arg) and node.arg == name for node in ast.walk(tree)) and not any(
        isinstance(inner, ast.Name) and inner.id == name and isinstance(inner.ctx, ast.Store)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
    )


def _unique(values: list[Any]) -> list[Any]:
    return [value for number, value in enumerate(values) if value not in values[:number]]
