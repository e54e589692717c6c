"""The import rules of the packages, read from the source, and what starting `hwi-cryptnox` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cryptnox_core", "hwilib_cryptnox")
IMPURE = frozenset(
    {"socket", "os", "time", "logging", "select", "selectors", "subprocess", "threading", "asyncio", "signal"}
)
HEAVY = frozenset({"embit", "coincurve", "cryptography", "smartcard", "click", "rich", "hwilib", "bdkpython"})


@dataclass(frozen=True)
class Import:
    """One import. `name` is the full dotted name of what is imported: a module, or something inside one."""

    name: str
    line: int
    top_level: bool

    def within(self, *prefixes: str) -> bool:
        return any(self.name == prefix or self.name.startswith(f"{prefix}.") for prefix in prefixes)


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    def within(self, *prefixes: str) -> bool:
        return any(self.name == prefix or self.name.startswith(f"{prefix}.") for prefix in prefixes)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _walk(node: ast.AST, package: str, top_level: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if _type_checking(child):
            continue
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, top_level)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parent = package.split(".")[: len(package.split(".")) - child.level + 1]
                base = ".".join([*parent, base] if base else parent)
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, top_level)
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, package, top_level and not function)


@cache
def modules() -> dict[str, Module]:
    """Every module of both packages, by name."""
    found = {}
    for top in PACKAGES:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            package = name if is_package else name.rpartition(".")[0]
            found[name] = Module(name, path, tree, tuple(_walk(tree, package, top_level=True)))
    return found


def offences(chosen: Iterator[Module], *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{module.name}:{item.line} imports {item.name}"
        for module in chosen
        for item in module.imports
        if item.within(*forbidden) and not item.within(*but)
    ]


def all_but(*names: str) -> Iterator[Module]:
    return (module for module in modules().values() if not module.within(*names))


def only(*names: str) -> Iterator[Module]:
    return (module for module in modules().values() if module.within(*names))


def test_the_source_is_found() -> None:
    assert {"cryptnox_core.wire", "cryptnox_core.apdu", "hwilib_cryptnox"} <= set(modules())
    assert any(item.name == "cryptnox_core.wire.Sw" for item in modules()["cryptnox_core.apdu"].imports)


def test_the_card_package_does_not_know_the_wallet_side() -> None:
    assert offences(only("cryptnox_core"), "hwilib", "hwilib_cryptnox") == []


def test_pyscard_only_in_pcsc() -> None:
    assert offences(all_but("cryptnox_core.transport.pcsc"), "smartcard") == []


def test_hwilib_only_in_its_skin() -> None:
    skin = ("hwilib_cryptnox.plugin.client", "hwilib_cryptnox.register", "hwilib_cryptnox.hwi.program")
    assert offences(all_but(*skin), "hwilib") == []


def test_specter_only_in_its_extension() -> None:
    assert offences(all_but("hwilib_cryptnox.specter", "hwilib_cryptnox.specter.controller"), "cryptoadvance") == []


def test_pure_modules_touch_no_system() -> None:
    """Randomness is a parameter whose default is os.urandom: that one name may be imported."""
    core = (
        module
        for module in only("cryptnox_core")
        if not module.within(
            "cryptnox_core.transport.pcsc",
            "cryptnox_core.transport.tcp",
            "cryptnox_core.card",
            "cryptnox_core.emulator.server",
            "cryptnox_core.emulator.vpcd",
        )
    )
    wallet = only("hwilib_cryptnox.psbt", "hwilib_cryptnox.signer.messages", "hwilib_cryptnox.export")
    assert [*offences(core, *IMPURE, but=("os.urandom",)), *offences(wallet, *IMPURE, but=("os.urandom",))] == []


def test_the_emulator_shares_only_the_wire_definitions() -> None:
    allowed = ("cryptnox_core.wire", "cryptnox_core.emulator")
    assert offences(only("cryptnox_core.emulator"), *PACKAGES, but=allowed) == []


def test_only_the_command_that_starts_it_knows_the_emulator() -> None:
    assert offences(all_but("cryptnox_core.emulator", "hwilib_cryptnox.ctl"), "cryptnox_core.emulator") == []


def test_the_psbt_engine_stands_alone() -> None:
    allowed = (
        "cryptnox_core.bip32",
        "cryptnox_core.crypto.secp256k1",
        "cryptnox_core.crypto.hashes",
        "cryptnox_core.errors.UsageError",
        "hwilib_cryptnox.psbt",
    )
    assert offences(only("hwilib_cryptnox.psbt"), *PACKAGES, but=allowed) == []


def _module_of(name: str) -> str | None:
    """The module of ours that an imported name lives in."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def test_no_import_cycles() -> None:
    """Also over imports inside functions: a late import hides a cycle, it mends none."""
    edges = {
        name: {target for item in module.imports if (target := _module_of(item.name))} - {name}
        for name, module in modules().items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            return [" -> ".join((*trail[trail.index(name) :], name))]
        if name in done:
            return []
        cycles = [cycle for target in sorted(edges[name]) for cycle in visit(target, (*trail, name))]
        done.add(name)
        return cycles

    assert [cycle for name in sorted(edges) for cycle in visit(name, ())] == []


def test_no_assert_in_the_packages() -> None:
    """`python -O` drops them: a check is an `if` with an exception."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_print_only_where_people_read() -> None:
    """hwi-cryptnox prints one line of JSON; all other output is cryptnoxctl's."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in all_but("hwilib_cryptnox.ctl", "hwilib_cryptnox.hwi.program", "hwilib_cryptnox.hwi.setup")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def _tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_importing_the_wallet_package_is_cheap() -> None:
    assert _tops(_loaded_by("import hwilib_cryptnox")) & HEAVY == set()


def test_importing_the_card_package_is_cheap() -> None:
    assert _tops(_loaded_by("import cryptnox_core")) & HEAVY == set()


def test_the_program_loads_no_foreign_driver_and_no_console_library() -> None:
    """What every `hwi-cryptnox` start pays for, where no PC/SC service runs."""
    if "hwilib_cryptnox.hwi.program" not in modules():
        pytest.fail("hwilib_cryptnox.hwi.program is missing")
    run = (
        "import contextlib, io; from hwilib_cryptnox.hwi import program as hwi\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    sys.argv = ['hwi-cryptnox', 'enumerate']; hwi.main()\n"
    )
    loaded = _loaded_by(f"exec({run!r})")
    assert "hwilib_cryptnox.hwi.program" in loaded
    assert _tops(loaded) & {"click", "rich", "hid", "usb1", "serial", "libusb1", "bdkpython"} == set()
    drivers = {name for name in loaded if name.startswith("hwilib.devices.")}
    assert drivers <= {"hwilib.devices.cryptnox"}
