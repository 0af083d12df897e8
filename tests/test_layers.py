"""Who may import whom, and a few habits, checked on the source without running it (docs/architecture.md)."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "nas").rglob("*.py"))
EVERYTHING = [
    path for folder in ("nas", "tests", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))
]
COMMANDS = {
    "search", "evaluate", "derive", "cost", "bench", "report", "sweeps", "export", "latency", "blackbox",
    "rank", "dashboard", "protocol", "predict",
}  # fmt: skip
# What each room may import of ours. A room may always import itself; commands may import everything.
DEEP = {"analysis", "data", "engine", "machine", "measure", "methods", "spaces"}
BELOW = {"errors", "files", "genotype", "genotype_text", "op_weights", "printable", "randomness", "reading"}
ALLOWED = {
    "printable": set(),
    "errors": {"printable"},
    "reading": {"errors", "printable"},
    "genotype": {"errors", "genotype_reading", "genotype_text", "printable", "reading"},
    "genotype_reading": {"errors", "genotype_spellings", "genotype_text", "printable"},
    "genotype_spellings": {"errors", "genotype_text", "printable"},
    "genotype_text": {"errors"},
    "files": {"errors"},
    "op_weights": set(),
    "randomness": set(),
    "spaces": {"errors", "genotype", "genotype_text", "op_weights", "printable"},
    "methods": {"errors", "genotype", "op_weights"},
    "algorithms": {"errors", "spaces"},
    "data": {"errors", "printable", "randomness", "reading"},
    "analysis": BELOW | {"spaces"},
    "formats": BELOW | {"spaces"},
    "machine": {"errors", "files", "spaces"},
    "engine": BELOW | {"analysis", "data", "machine", "measure", "methods", "spaces"},
    "measure": BELOW | {"analysis", "data", "engine", "machine", "methods", "spaces"},
    "domains": BELOW | {"analysis", "data", "engine", "machine", "measure", "methods", "running", "spaces"},
    "running": BELOW | {"analysis", "data", "domains", "engine", "machine", "measure"},
    "__main__": {"running"},
    "pages": BELOW | {"analysis"},
    "commands": BELOW | DEEP | {"algorithms", "domains", "formats", "pages", "running"},
}
# Python's own way in; the package itself brings in its names when they are asked for.
ALLOWED |= {"api": ALLOWED["commands"] | {"commands", "datasets"}, "datasets": {"api"}}
ALLOWED[""] = {"api", "datasets", "errors", "running"}
# The files that start a command: they import what composes a configuration and nothing else.
STARTING = {"running"}
STANDARD_ONLY = {
    "errors",
    "files",
    "genotype",
    "genotype_reading",
    "genotype_spellings",
    "genotype_text",
    "printable",
}
STANDARD_ONLY_FILES = {
    "nas.engine.machine.stopping",
    "nas.running.kinds",
    "nas.running.locks",
    "nas.running.log_files",
    "nas.running.remains",
}
CONFIGURED = COMMANDS | {"api", "commands", "domains", "running"}
# Of `running`, what is loaded before it is known that there is anything to do.
LIGHT = (
    "config", "config_checks", "declared", "choices", "extensions", "launching", "trust", "locks",
    "log_files",
)  # fmt: skip
HEAVY = {
    "torch", "torchvision", "pytorch_lightning", "torchmetrics", "timm", "scipy", "sklearn", "wandb",
    "matplotlib", "altair", "jinja2", "vl_convert",
}  # fmt: skip
MUTATORS = {
    "append", "extend", "insert", "remove", "clear", "update", "add", "discard", "pop", "popitem",
    "setdefault",
}  # fmt: skip
MAX_LINES = 400
MAX_FUNCTION_LINES = 80


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The part of `nas` that a dotted name belongs to; empty for the package itself."""
    parts = module.split(".")
    if parts[:3] == ["nas", "engine", "machine"]:
        return "machine"
    return parts[1] if len(parts) > 1 else ""


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST, module: str, top_level: bool = False) -> list[tuple[str, int]]:
    """(dotted name, line) of every import; `from nas import x` counts as `nas.x`."""
    found = []
    for node in _module_level(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], base]).rstrip(".")
            found += (
                [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
                if base == "nas"
                else [(base, node.lineno)]
            )
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            found += [
                (argument.value, node.lineno)
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
    return found


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _module_level(node: ast.AST):
    """Everything that runs when a module is imported: not the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and child in node.body
        if not types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _module_level(child)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def each(paths: list[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """One test of a rule for single files, which names every file that breaks it."""

    def of(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as error:
                    broken.append(f"{label(path)}: {error}")
            assert not broken, "\n".join(broken)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return of


each_source = each(SOURCES)


@pytest.fixture(scope="module", autouse=True)
def parsed_once():
    """Trees are kept for these tests alone."""
    yield
    parse.cache_clear()


def test_every_room_has_a_rule():
    rooms = {room(module_name(path)) for path in SOURCES} - {""}
    assert rooms <= set(ALLOWED) | COMMANDS, f"add a rule for {sorted(rooms - set(ALLOWED) - COMMANDS)}"


@each_source
def test_imports_point_the_right_way(path):
    module = module_name(path)
    here = room(module)
    wrong = []
    for name, line in imports(parse(path), module):
        root = name.split(".")[0]
        there = room(name)
        if root in ("tests", "experiments"):
            wrong.append(f"line {line}: {name} is not for nas to import")
        allowed = ALLOWED.get(here, STARTING if here in COMMANDS else set())
        if root == "nas" and there not in ("", here, "__version__", *allowed):
            wrong.append(f"line {line}: {here} must not import {name}")
        if (
            (here in STANDARD_ONLY or module in STANDARD_ONLY_FILES)
            and root != "nas"
            and root not in sys.stdlib_module_names
        ):
            wrong.append(f"line {line}: {here} keeps to the standard library, not {name}")
        if root in ("hydra", "omegaconf") and here not in CONFIGURED:
            wrong.append(f"line {line}: only the commands and what serves them import {name}")
        if root == "pytorch_lightning" and here not in ("engine", "machine", "measure"):
            wrong.append(f"line {line}: only engine imports {name}")
    assert not wrong, "\n".join(wrong)


@each(EVERYTHING)
def test_nobody_imports_the_other_distribution_of_lightning(path):
    names = {name.split(".")[0] for name, _ in imports(parse(path), module_name(path))}
    assert "lightning" not in names, "import pytorch_lightning: the classes of the two do not mix"


def cheap_closure(module: str, seen: dict[str, str]) -> dict[str, str]:
    """Every root package that importing `module` brings in through our own modules, and who asked for it."""
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return seen
    seen[module] = ""
    for name, _ in imports(parse(file), module, top_level=True):
        if name.split(".")[0] != "nas":
            seen.setdefault(name.split(".")[0], module)
            continue
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            ours = ".".join(parts[:depth])
            if ours not in seen:
                cheap_closure(ours, seen)
    return seen


STARTS = [f"nas.{path.stem}" for path in sorted((ROOT / "nas").glob("*.py")) if path.stem in COMMANDS]


@pytest.mark.parametrize("module", [*STARTS, *(f"nas.running.{name}" for name in LIGHT)])
def test_commands_are_cheap_to_import(module):
    found = cheap_closure(module, {})
    heavy = {package: f"imported by {found[package]}" for package in HEAVY & set(found)}
    assert not heavy, heavy


def test_importing_the_commands_loads_nothing_heavy():
    code = "\n".join(
        [
            "import sys",
            *(f"import {name}" for name in STARTS),
            f"print(sorted({HEAVY!r} & set(sys.modules)))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@each_source
def test_no_eval_no_exec_no_bare_except(path):
    wrong = []
    for node in ast.walk(parse(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("eval", "exec")
        ):
            wrong.append(f"line {node.lineno}: {node.func.id}(")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"line {node.lineno}: bare except")
    assert not wrong, wrong


@each_source
def test_no_backward_that_lightning_does_not_see(path):
    # In manual optimisation a bare backward() is neither scaled nor averaged over processes.
    # A benchmark runs without Lightning, in one process.
    # `Frame` is what runs a step without Lightning; the module brings another.
    if room(module_name(path)) != "engine" or path.name == "step.py":
        return
    calls = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "backward"
    ]
    assert not calls, f"lines {calls}: use manual_backward, or torch.autograd.grad and an explicit average"


@each_source
def test_modules_keep_no_mutable_state(path):
    tree = parse(path)
    containers, wrong = set(), []
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if _is_container(node.value):
            containers |= set(names)
            # An upper-case name promises that the container is a table which nobody changes.
            wrong += [
                f"line {node.lineno}: {name}" for name in names if name != name.upper() and name != "__all__"
            ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            wrong.append(f"line {node.lineno}: global {', '.join(node.names)}")
        if (
            isinstance(node, ast.Attribute)
            and node.attr in MUTATORS
            and isinstance(node.value, ast.Name)
            and node.value.id in containers
        ):
            wrong.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store | ast.Del)
            and isinstance(node.value, ast.Name)
            and node.value.id in containers
        ):
            wrong.append(f"line {node.lineno}: {node.value.id}[...] changes")
    assert not wrong, wrong


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in (
            "list",
            "dict",
            "set",
            "defaultdict",
            "deque",
        )
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


@each(EVERYTHING)
def test_files_stay_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: give the second thing that it does a file of its own"


@each_source
def test_nobody_asks_which_method_it_is(path):
    """What a method adds are hooks (nas/methods/hooks.py); outside its room nobody looks at class or name."""
    here = room(module_name(path))
    wrong = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nas.methods.sparse"):
            wrong.append((node.lineno, "imports a concrete method"))
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute):
            of = ast.unparse(node.left)
            if of.endswith(("method.name", "sparsity.adaptive")):
                wrong.append((node.lineno, f"compares {of}"))
    assert here == "methods" or not wrong, wrong


@each_source
def test_nobody_asks_what_kind_of_data_it_is(path):
    """What follows from images or text is said in `domains`; `data` knows what its own sources hold."""
    wrong = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Compare) and re.search(r"\.domain$|domain_of\(", ast.unparse(node.left))
    ]
    assert room(module_name(path)) in ("domains", "data") or not wrong or path.stem == "onnx_model", wrong


@each_source
def test_nobody_guesses_a_kind_from_a_name(path):
    """Spaces, methods and data sets say what they are; their names may be anybody's."""
    named = re.compile(r"(\bfamily|(space|method|dataset|recipe|domain)\.name)$")
    wrong = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            guessed = any(named.search(ast.unparse(one)) for one in sides)
            if guessed and any(isinstance(one, ast.Constant) and one.value is not None for one in sides):
                wrong.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = node.func.attr in ("startswith", "endswith")
            if asked and named.search(ast.unparse(node.func.value)):
                wrong.append((node.lineno, ast.unparse(node)))
    assert not wrong, wrong


@each_source
def test_functions_stay_short(path):
    wrong = [
        f"line {node.lineno}: {node.name} has {length} lines"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
        and (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not wrong, wrong
