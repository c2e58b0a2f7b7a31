"""The rules of this repository about size and words: how long, how deep, and what must be said.

Measured rules compare with the limits and the ratchet of `repository_rules`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from tests.repository_rules import (
    CLI,
    FILE_LINES_MAX,
    FUNCTION_LINES_MAX,
    KERNEL_DECORATORS,
    NESTING_MAX,
    PARAMETERS_MAX,
    POSITIONAL_MAX,
    VAGUE_MODULE_NAMES,
    AnyFunction,
    Finding,
    Function,
    Source,
    decorators,
    dotted,
    functions,
    imported_names,
    is_in,
    statements_below,
)

BLOCKS = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith),
    *(ast.Try, ast.TryStar, ast.Match),
)


def check_function_length(source: Source) -> Iterator[Finding]:
    """No function is longer than a screen, its docstring not counted."""
    for function in functions(source.tree) if source.is_ours else ():
        lines = _length(function.node)
        if lines > FUNCTION_LINES_MAX:
            yield _measured("function-length", source, function, lines)


def _length(node: AnyFunction) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    text = node.body[0]
    return lines - ((text.end_lineno or text.lineno) - text.lineno + 1)


def _measured(rule: str, source: Source, function: Function, value: int) -> Finding:
    limit = {
        "function-length": FUNCTION_LINES_MAX,
        "nesting": NESTING_MAX,
        "parameters": PARAMETERS_MAX,
        "positional": POSITIONAL_MAX,
    }[rule]
    message = f"{function.name} has {value}, the limit is {limit}"
    return Finding(rule, source.path, function.node.lineno, message, name=function.name, value=value)


def check_file_length(source: Source) -> Iterator[Finding]:
    """No Python file is longer than one subject takes."""
    lines = len(source.text.splitlines())
    if source.is_python and lines > FILE_LINES_MAX:
        message = f"{lines} lines, the limit is {FILE_LINES_MAX}"
        yield Finding("file-length", source.path, 1, message, name="", value=lines)


def check_parameters(source: Source) -> Iterator[Finding]:
    """Few parameters, most by name; kernels, commands and special methods are called by others' rules."""
    for function in functions(source.tree) if source.is_ours else ():
        if _has_imposed_signature(source, function):
            continue
        arguments = function.node.args
        positional = len(arguments.posonlyargs) + len(arguments.args)
        if function.is_method and "staticmethod" not in decorators(function.node):
            positional -= 1
        if positional > POSITIONAL_MAX:
            yield _measured("positional", source, function, positional)
        if positional + len(arguments.kwonlyargs) > PARAMETERS_MAX:
            yield _measured("parameters", source, function, positional + len(arguments.kwonlyargs))


def _commands(tree: ast.Module) -> set[str]:
    """Functions registered as commands, `app.command(...)(function)`: their parameters are the flags."""
    return {
        argument.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Call)
        if isinstance(node.func.func, ast.Attribute) and node.func.func.attr == "command"
        for argument in node.args
        if isinstance(argument, ast.Name)
    }


def _has_imposed_signature(source: Source, function: Function) -> bool:
    name, used = function.node.name, decorators(function.node)
    is_kernel = source.path.startswith("agora/kernels/") and bool(used & KERNEL_DECORATORS)
    is_command = is_in(source.path, CLI) and (bool(used & {"callback"}) or name in _commands(source.tree))
    is_special = name.startswith("__") and name.endswith("__") and name != "__init__"
    return is_kernel or is_command or is_special or "override" in used


def check_nesting(source: Source) -> Iterator[Finding]:
    """Guard clauses first: blocks stand at most three deep in a function."""
    for function in functions(source.tree) if source.is_ours else ():
        depth = _depth(function.node.body, 0)
        if depth > NESTING_MAX:
            yield _measured("nesting", source, function, depth)


def _depth(body: Iterable[ast.stmt], level: int) -> int:
    return max((_depth_of(item, level) for item in body if isinstance(item, BLOCKS)), default=level)


def _depth_of(block: ast.stmt, level: int) -> int:
    if not isinstance(block, ast.If):
        return _depth(statements_below(block), level + 1)
    is_elif = len(block.orelse) == 1 and isinstance(block.orelse[0], ast.If)
    return max(_depth(block.body, level + 1), _depth(block.orelse, level if is_elif else level + 1))


def beyond_ratchet(findings: Iterable[Finding], ratchet: Mapping[tuple[str, str, str], int]) -> Iterator[Finding]:
    """The findings that no entry covers, and the entries that are higher than what they cover today."""
    today: dict[tuple[str, str, str], int] = {}
    for finding in findings:
        key = (finding.rule, finding.path, finding.name)
        today[key] = max(finding.value, today.get(key, 0))
        if finding.value > ratchet.get(key, 0):
            yield finding
    for (rule, path, name), allowed in ratchet.items():
        value = today.get((rule, path, name), 0)
        if value < allowed:
            yield Finding("ratchet", path, 1, f"{rule} of '{name}' is down from {allowed} to {value}: lower the entry")


def check_stubs(source: Source) -> Iterator[Finding]:
    """Absent is more honest than a stub."""
    if not source.is_ours:
        return
    loops = [node for node in ast.walk(source.tree) if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
    drains = {id(loop.body[0]) for loop in loops}  # a loop may be there for its condition or iterator alone
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Pass | ast.Raise) and id(node) not in drains and _says_unwritten(node):
            yield Finding("stub", source.path, node.lineno, "write it, or leave it out")


def _says_unwritten(node: ast.Pass | ast.Raise) -> bool:
    return ast.unparse(node).startswith(("pass", "raise NotImplementedError"))


def check_module_docstrings(source: Source) -> Iterator[Finding]:
    """Each module begins with what it is responsible for."""
    if source.is_python and source.text.strip() and ast.get_docstring(source.tree) is None:
        yield Finding("module-docstring", source.path, 1, "say in one to three sentences what this module is for")


def check_public_docstrings(source: Source) -> Iterator[Finding]:
    """Each public function and class of the package states its contract."""
    if not source.is_ours:
        return
    inherited = {"overload", "override", "setter", "deleter"}
    for node, name in _public_definitions(source.tree.body, ""):
        if ast.get_docstring(node) is None and not decorators(node) & inherited:
            yield Finding("public-docstring", source.path, node.lineno, f"{name}: state contract and units")


def _public_definitions(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[AnyFunction | ast.ClassDef, str]]:
    for node in body:
        if not isinstance(node, AnyFunction | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node.body, f"{prefix}{node.name}.")


def check_test_habits(source: Source) -> Iterator[Finding]:
    """A test says the property it proves and proves it on real objects, without patches or naps."""
    if not source.is_python or not source.path.startswith("tests/"):
        return
    names = imported_names(source.tree)
    for function in functions(source.tree):
        if not function.node.name.startswith("test"):
            continue
        if ast.get_docstring(function.node) is None:
            message = f"{function.name}: state the property in one line"
            yield Finding("test-docstring", source.path, function.node.lineno, message)
        arguments = {argument.arg for argument in ast.walk(function.node.args) if isinstance(argument, ast.arg)}
        if arguments & {"monkeypatch", "mocker"}:
            message = f"{function.name}: hand in a real object; if a test must patch, a port is missing"
            yield Finding("test-patch", source.path, function.node.lineno, message)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and _is_patch(dotted(node, names)):
            message = f"{dotted(node, names)}: use a clock that jumps and real objects"
            yield Finding("test-patch", source.path, node.lineno, message)
        if isinstance(node, ast.Call) and dotted(node.func, names) == "asyncio.sleep" and not _yields(node):
            yield Finding("test-patch", source.path, node.lineno, "asyncio.sleep: use a clock that jumps")


def _is_patch(name: str) -> bool:
    return name == "time.sleep" or name.startswith(("unittest.mock", "mock."))


def _yields(node: ast.Call) -> bool:
    return [ast.unparse(argument) for argument in node.args] == ["0"]


def check_package_files(source: Source) -> Iterator[Finding]:
    """Packages nest twice at most, module names say what they hold, and an `__init__` only re-exports."""
    if not source.is_ours:
        return
    parts = source.path.split("/")
    if len(parts) > 4:
        yield Finding("package-depth", source.path, 1, "no third level: move it up")
    if parts[-1].removesuffix(".py") in VAGUE_MODULE_NAMES:
        yield Finding("module-name", source.path, 1, "name the module for what it holds")
    if parts[-1] == "__init__.py":
        others = [node for node in source.tree.body if not _is_reexport(node)]
        yield from (Finding("package-init", source.path, node.lineno, "re-exports only") for node in others)


def _is_reexport(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return all(isinstance(item, ast.Name) and item.id in {"__all__", "__version__"} for item in node.targets)
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or isinstance(node, ast.Import | ast.ImportFrom)
