"""The rules of this repository as functions from a file to findings.

`tests/test_repository.py` applies each to the tree and to a planted offence. A rule reads text and syntax
only: nothing of the package is imported, so the rules still speak when the package does not start.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

# The layers. A module may import what stands lower; packages of one rank do not know one another.
RANKS = {
    "domain": 0,
    "kernels": 0,
    "engine": 1,
    "exchange": 1,
    "risk": 2,
    "traders": 2,
    "venues": 2,
    "journal": 2,
    "market": 2,
    "session": 3,
    "testnet": 3,
    "report": 3,
    "config": 4,
    "assembly": 4,
    "populate": 5,
    "bitunix_assembly": 5,
    "venue_access": 5,
    "lookback": 6,
    "audit": 7,
    "launch": 8,
    "market_launch": 9,
    "research": 9,
    "server": 9,
    "cli": 10,
    "__main__": 11,
}
# The one pair of a rank with an edge: the assembly builds objects from the settings tree.
SAME_RANK_IMPORTS = {("assembly", "config")}

# Libraries that a user may leave out; they are imported by the function that needs them.
OPTIONAL_LIBRARIES = {"ccxt", "litellm", "ray"}

CLI = ("agora/cli.py", "agora/cli/", "agora/__main__.py")
ASYNC_HOMES = (
    *CLI,
    "agora/assembly.py",
    "agora/bitunix_assembly.py",
    "agora/engine/ports.py",  # the protocols of what the shells do
    "agora/journal/",
    "agora/server/",
    "agora/session/",
    "agora/testnet/",
    "agora/venues/",
)

# Where a broad except may stand, and why. It re-raises or ends the session.
BROAD_EXCEPT_HOMES: Mapping[str, str] = {
    "agora/session/lifetime.py": "the edge of a run: whatever breaks, the run ends in order and says so",
    "agora/launch.py": "the edge of a run's process: the report is written whatever broke",
    "agora/market_launch.py": "the edge of a market run's process: the report is written whatever broke",
    "agora/journal/replay.py": "a replay must meet the same fault of the step as the run did, and go on as it did",
    "agora/venues/bitunix/crew.py": "a bug in the background is raised to the run, which ends in order",
    "agora/venues/recording.py": "a fault of the event source is re-raised as it was, not as the writer wraps it",
}

FUNCTION_LINES_MAX = 70  # one screen; the docstring is not counted
FILE_LINES_MAX = 600  # beyond it a file holds two subjects
PARAMETERS_MAX = 5  # more is a record that has no name yet
# What a function acts on (a desk, a book: what `self` is to a method) and two more; a third is read wrong.
POSITIONAL_MAX = 3
NESTING_MAX = 3  # deeper, a reader holds more conditions than fit in the head
README_LINES_MAX = 150  # what a visitor reads before deciding
FILE_BYTES_MAX = 400_000  # beyond it a file is data, which lives beside the repository

# What is over a limit today: (rule, path, name) to its measure. Entries shrink or go, never grow.
RATCHET: Mapping[tuple[str, str, str], int] = {}

KERNEL_DECORATORS = {"compiled", "compiled_inside", "guvectorize", "jit", "njit", "vectorize"}
VAGUE_MODULE_NAMES = {
    *("common", "data", "handler", "handlers", "helper", "helpers", "info"),
    *("manager", "managers", "misc", "process", "util", "utils"),
}

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """One offence: the rule, where, what to do instead, and for measured rules the name and value."""

    rule: str
    path: str
    line: int
    message: str
    name: str = ""
    value: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Source:
    """One tracked file: its path from the root with forward slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file."""
        return ast.parse(self.text, self.path)

    @property
    def is_python(self) -> bool:
        """Whether this is a Python file."""
        return self.path.endswith(".py")

    @property
    def is_ours(self) -> bool:
        """Whether this is a module of the package."""
        return self.is_python and self.path.startswith("agora/")

    @property
    def module(self) -> str:
        """The dotted name: `agora.venues.bitunix` for that package's `__init__.py` too."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The dotted name that a relative import starts from."""
        return self.module if self.path.endswith("/__init__.py") else self.module.rpartition(".")[0]


@dataclass(frozen=True)
class Function:
    """A function, its name with those of its classes, and whether it stands inside another function."""

    node: AnyFunction
    name: str
    is_method: bool
    is_nested: bool


@dataclass(frozen=True)
class Ban:
    """Names that may not be used outside `homes`; a final dot bans all below the name, but for `spared`."""

    rule: str
    names: tuple[str, ...]
    instead: str
    homes: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether the fully dotted `name` is banned."""
        if name in self.spared:
            return False
        return any(name == ban or (ban.endswith(".") and name.startswith(ban)) for ban in self.names)


SEEDED_GENERATORS = ("random.Random", "numpy.random.default_rng", "numpy.random.SeedSequence")
CLOCKS = (
    *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")),
    *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")),
    *(f"time.{name}" for name in ("clock_gettime", "clock_gettime_ns", "localtime", "gmtime", "ctime")),
    *(f"time.{name}" for name in ("asctime", "strftime")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    *("datetime.date.today", "psutil.boot_time", "os.times", "uuid.uuid1"),
)
BANS = (
    Ban(
        "clock",
        CLOCKS,
        "take the time from the event, or ask the clock that was handed in",
        ("agora/session/clock.py",),
    ),
    Ban("print", ("builtins.print",), "return the text; only the command line prints", CLI),
    Ban("sleep", ("time.sleep",), "wait through the clock that was handed in"),
    Ban(
        "randomness",
        ("random.", "numpy.random.", "os.urandom", "uuid.uuid4"),
        "draw from a generator that was handed in with its seed",
        spared=(
            *SEEDED_GENERATORS,
            *(
                "numpy.random.Generator",
                "numpy.random.BitGenerator",
                "numpy.random.PCG64",
                "numpy.random.Philox",
            ),
        ),
    ),
    Ban(
        "secrets",
        ("secrets.",),
        "derive ids from the run id and a sequence number",
        ("agora/server/", "agora/assembly.py", *CLI),
    ),
    Ban(
        "environment",
        ("os.environ", "os.environb", "os.getenv", "os.getenvb"),
        "take the setting as an argument; config reads the environment once",
        ("agora/config.py", "agora/config/", "agora/assembly.py", *CLI),
    ),
    Ban(
        "loose-task",
        ("asyncio.create_task", "asyncio.ensure_future"),
        "start it in a task group that owns it",
    ),
    Ban(
        "code-from-text",
        ("builtins.eval", "builtins.exec", "builtins.__import__", "pickle.", "marshal.", "shelve."),
        "decode a typed record with msgspec",
    ),
)


# Walking.


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function of a module, from the top, with its qualified name."""
    yield from _functions(tree.body, "", is_method=False, is_nested=False)


def _functions(body: Iterable[ast.stmt], prefix: str, *, is_method: bool, is_nested: bool) -> Iterator[Function]:
    for statement in body:
        if isinstance(statement, AnyFunction):
            name = prefix + statement.name
            yield Function(statement, name, is_method, is_nested)
            yield from _functions(statement.body, f"{name}.", is_method=False, is_nested=True)
        elif isinstance(statement, ast.ClassDef):
            yield from _functions(statement.body, f"{prefix}{statement.name}.", is_method=True, is_nested=is_nested)
        else:
            yield from _functions(statements_below(statement), prefix, is_method=is_method, is_nested=is_nested)


def statements_below(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The statements one level below: bodies, handlers, cases and else branches."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for: `np` for `numpy`, `sleep` for `time.sleep`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """The full name that an expression refers to, "" where it is no imported or built-in name."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if node.id in names:
        return ".".join([names[node.id], *reversed(attributes)])
    return "" if attributes else f"builtins.{node.id}"


def is_in(path: str, homes: Iterable[str]) -> bool:
    """Whether a path is one of the homes, or below one that ends in a slash."""
    return any(path.startswith(home) if home.endswith("/") else path == home for home in homes)


def decorators(node: AnyFunction | ast.ClassDef) -> set[str]:
    """The last names of the decorators: `njit` for `@numba.njit(cache=True)`."""
    called = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return {item.attr if isinstance(item, ast.Attribute) else getattr(item, "id", "") for item in called}


# Imports.


def import_edges(source: Source) -> Iterator[tuple[str, ast.stmt]]:
    """Each module or member of ours that a module imports, as a dotted name, with its statement."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names if alias.name.split(".")[0] == "agora")
        elif isinstance(node, ast.ImportFrom):
            base = _import_base(node, source)
            if base.split(".")[0] == "agora":
                yield from ((f"{base}.{alias.name}", node) for alias in node.names)


def _import_base(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    parents = source.package.split(".")
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def check_ranks(source: Source) -> Iterator[Finding]:
    """A module imports from lower ranks and its own package only; the version in `agora` is open to all."""
    if not source.is_ours:
        return
    own = _part(source.module)
    if own and own not in RANKS:
        yield Finding("ranks", source.path, 1, f"'{own}' has no rank: give it one in DESIGN and in RANKS")
        return
    for target, node in import_edges(source):
        other = _part(target)
        if other in RANKS and other != own and not _may_import(own, other):
            message = f"'{own or 'agora'}' may not import '{other}': imports go downward"
            yield Finding("ranks", source.path, node.lineno, message)


def _part(module: str) -> str:
    return (*module.split("."), "")[1]


def _may_import(own: str, other: str) -> bool:
    return RANKS.get(own, -1) > RANKS[other] or (own, other) in SAME_RANK_IMPORTS


def check_function_imports(source: Source) -> Iterator[Finding]:
    """Imports stand at the top, except in the command line (start-up time) and for optional libraries."""
    if not source.is_ours or is_in(source.path, CLI):
        return
    for function in functions(source.tree):
        for node in ast.walk(function.node):
            if isinstance(node, ast.Import | ast.ImportFrom) and not _is_optional(node) and not function.is_nested:
                yield Finding("function-import", source.path, node.lineno, "import at the top of the module")


def _is_optional(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(module.split(".")[0] in OPTIONAL_LIBRARIES for module in modules)


def import_cycles(sources: Iterable[Source]) -> Iterator[Finding]:
    """Modules of ours that import one another in a ring, each ring once."""
    ours = {source.module: source for source in sources if source.is_ours}
    graph = {name: sorted(_modules_imported(source, set(ours))) for name, source in ours.items()}
    done: set[str] = set()
    for name in sorted(graph):
        ring = _ring_from(name, graph, done, [])
        if ring:
            message = "import cycle: " + " -> ".join(ring)
            yield Finding("import-cycle", ours[ring[0]].path, 1, message)


def _modules_imported(source: Source, known: set[str]) -> set[str]:
    targets = (name if name in known else name.rpartition(".")[0] for name, _ in import_edges(source))
    return {target for target in targets if target in known and target != source.module}


def _ring_from(name: str, graph: Mapping[str, list[str]], done: set[str], trail: list[str]) -> list[str]:
    if name in trail:
        return [*trail[trail.index(name) :], name]
    if name in done:
        return []
    for target in graph[name]:
        ring = _ring_from(target, graph, done, [*trail, name])
        if ring:
            done.add(name)
            return ring
    done.add(name)
    return []


# Bans.


def check_bans(source: Source) -> Iterator[Finding]:
    """No clock, chance, environment, print or loose task outside its home; findings name the other way."""
    if not source.is_ours:
        return
    names = imported_names(source.tree)
    bans = [ban for ban in BANS if not is_in(source.path, ban.homes)]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names)
            yield from (
                Finding(ban.rule, source.path, node.lineno, f"{name.removeprefix('builtins.')}: {ban.instead}")
                for ban in bans
                if ban.covers(name)
            )


def check_loop_calls(source: Source) -> Iterator[Finding]:
    """The event loop's clock and its ownerless tasks are banned like the functions of their modules."""
    if not source.is_ours:
        return
    banned = {"create_task": "loose-task"}
    if source.path != "agora/session/clock.py":
        banned["time"] = "clock"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in banned and _is_loop(node.value):
            message = f"loop.{node.attr}: use the clock or the task group that was handed in"
            yield Finding(banned[node.attr], source.path, node.lineno, message)


def _is_loop(node: ast.expr) -> bool:
    return ast.unparse(node).removesuffix("()").endswith("loop")


def check_seeds(source: Source) -> Iterator[Finding]:
    """A generator is made from a seed: a missing seed is an error, not a default."""
    if not source.is_ours:
        return
    names = imported_names(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and not node.args and not node.keywords:
            name = dotted(node.func, names)
            if name in SEEDED_GENERATORS:
                yield Finding("randomness", source.path, node.lineno, f"{name}(): hand the seed in")


def check_broad_excepts(source: Source) -> Iterator[Finding]:
    """An except names what it can do something about."""
    if not source.is_ours or source.path in BROAD_EXCEPT_HOMES:
        return
    for node in broad_excepts(source.tree):
        message = "catch the exception you can act on, or add the file to BROAD_EXCEPT_HOMES with its reason"
        yield Finding("broad-except", source.path, node.lineno, message)


def broad_excepts(tree: ast.Module) -> Iterator[ast.ExceptHandler | ast.Call]:
    """Handlers and `suppress` calls that take every exception."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _is_broad(node.type)):
            yield node
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress") and _is_broad(node):
            yield node


def _is_broad(node: ast.expr) -> bool:
    return any(isinstance(item, ast.Name) and item.id in {"Exception", "BaseException"} for item in ast.walk(node))


def check_async_homes(source: Source) -> Iterator[Finding]:
    """Only the shells are asynchronous; what decides is a plain function."""
    if not source.is_ours or is_in(source.path, ASYNC_HOMES):
        return
    for function in functions(source.tree):
        if isinstance(function.node, ast.AsyncFunctionDef):
            message = f"{function.name}: decide in a plain function, await in a shell (session, venues, server)"
            yield Finding("async-home", source.path, function.node.lineno, message)
