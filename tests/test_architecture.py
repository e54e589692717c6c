"""The rules of the house, read from the source: who may know whom, what stays pure, how long the chains are."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("architecture")  # all modules are read once

ROOT = Path(__file__).resolve().parent.parent
CORE, WALLET = "cryptnox_core", "hwilib_cryptnox"
PACKAGES = (CORE, WALLET)
FACES = ("hwi", "plugin", "specter", "electrum", "ctl")
ORDER = (("errors", "networks"), ("storage", "psbt", "export", "console"), ("pin",), ("signer",), FACES)
"""Each rests on those before it; folders of one step may know each other, as long as there is no cycle."""
IMPURE = frozenset(
    {"socket", "os", "time", "logging", "select", "selectors", "subprocess", "threading", "asyncio", "signal"}
)
PURE_OF_SIGNER = ("bip322", "messages", "registered.registration", "wallets")
HEAVY = frozenset({"embit", "coincurve", "cryptography", "smartcard", "click", "rich", "hwilib", "bdkpython"})
PROGRAM, SIGNING = f"{WALLET}.hwi.program", f"{WALLET}.signer.signing"
LONGEST = {PROGRAM: 8, SIGNING: 6}
"""Modules of the longest chain of imports from here, itself included; those of `ONE` count as one each."""
ONE = (CORE, f"{WALLET}.psbt", f"{WALLET}.export")
DOORS = (f"{WALLET}.register",)
"""Modules that stand where earlier versions had them, and only lead elsewhere."""
LARGE = {
    f"{CORE}.card": "one class in one file",
}
"""Modules over 450 lines, and why."""
MOST_LINES = 450


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

    @property
    def room(self) -> str:
        """The folder of the wallet side it is in, or the module itself where it is in none."""
        return self.name.split(".")[1] if self.name.startswith(f"{WALLET}.") and self.name not in DOORS else ""


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _by_name(call: ast.Call) -> str | None:
    """The module of ours that `import_module("...")` imports: a late import all the same."""
    if ast.unparse(call.func) != "import_module" or not call.args or not isinstance(call.args[0], ast.Constant):
        return None
    name = str(call.args[0].value)
    return name if name.startswith(PACKAGES) else None


def _walk(node: ast.AST, package: str, top_level: bool, typing: bool = False) -> Iterator[Import]:
    """Imports of a module; with `typing` those for a type checker alone, too."""
    for child in ast.iter_child_nodes(node):
        if _type_checking(child) and not typing:
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
        elif isinstance(child, ast.Call) and (named := _by_name(child)) is not None:
            yield Import(named, child.lineno, top_level=False)
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, package, top_level and not function, typing)


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


def rooms(*names: str) -> tuple[str, ...]:
    return tuple(f"{WALLET}.{name}" for name in names)


def _module_of(name: str) -> str | None:
    """The module of ours that an imported name lives in."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def test_the_source_is_found() -> None:
    assert {f"{CORE}.wire", f"{CORE}.apdu", WALLET, PROGRAM, SIGNING} <= set(modules())
    assert any(item.name == f"{CORE}.wire.Sw" for item in modules()[f"{CORE}.apdu"].imports)


# 1. Faces


def test_nothing_below_knows_a_face() -> None:
    """The package itself is the door to the plugin (`register`, `enumerate`, `CryptnoxClient`)."""
    below = (module for module in only(WALLET) if module.room and module.room not in FACES)
    assert [*offences(below, *rooms(*FACES)), *offences(only(CORE), WALLET)] == []


ALLOWED = {
    "hwi": (),
    # HWI's errors, its list, its setup and wipe, as hwi-cryptnox has them. And `registerdescriptor`: hwilib's
    # `register_descriptor` is the same review by a person, its `display_bip388_policy_address` the same checks.
    "plugin": rooms("hwi.errors", "hwi.listing", "hwi.registerdescriptor", "hwi.setup"),
    "specter": (),
    "electrum": (),
    "ctl": (),
}


@pytest.mark.parametrize("face", FACES)
def test_no_face_knows_another(face: str) -> None:
    others = rooms(*(other for other in FACES if other != face))
    found = [
        f"{module.name}:{item.line} imports {item.name}"
        for module in only(*rooms(face))
        for item in module.imports
        if item.within(*others)
        and not item.within(*ALLOWED[face])
        and not (module.name == f"{WALLET}.ctl.commands.hwi" and item.within(f"{WALLET}.plugin.register"))
    ]
    assert found == []


# 2. hwilib and HWI's numbers


def test_hwilib_only_in_the_plugin() -> None:
    assert offences(all_but(*rooms("plugin")), "hwilib") == []


def test_specter_only_in_its_extension() -> None:
    assert offences(all_but(*rooms("specter")), "cryptoadvance", "flask") == []


def test_hwis_numbers_only_in_hwi_and_the_plugin() -> None:
    """Nobody else imports or speaks of HWI's codes, nor has an attribute for one."""
    found = [
        f"{module.name}:{node.lineno} {ast.unparse(node)[:60]}"
        for module in all_but(*rooms("hwi", "plugin"))
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Name) and node.id == "Code")
        or (isinstance(node, ast.ClassDef) and node.name == "Code")
        or (isinstance(node, ast.Attribute) and node.attr == "code" and ast.unparse(node.value) in ("error", "cause"))
    ]
    assert found == []


BLOCKER = """
import sys
class Away:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError("taken away: " + name, name=name)
# An editable installation would bring back what was taken away.
sys.meta_path[:] = [Away, *(one for one in sys.meta_path if "editable" not in str(getattr(one, "__module__", "")))]
"""


def _without(folder: Path, faces: tuple[str, ...], *names: str) -> dict[str, str]:
    """An environment in which the packages are there without some faces, and other packages are not there at all."""
    for top in PACKAGES:
        shutil.copytree(ROOT / top, folder / top, ignore=shutil.ignore_patterns("__pycache__"))
    for face in faces:
        shutil.rmtree(folder / WALLET / face, ignore_errors=True)
        (folder / WALLET / f"{face}.py").unlink(missing_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKER.format(names=names))
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


@pytest.mark.timeout(360)
def test_what_is_below_the_faces_stands_without_them(tmp_path: Path) -> None:
    environment = _without(tmp_path, FACES, "hwilib", "click", "rich", "cryptoadvance", "flask")
    for door in DOORS:
        (tmp_path / door.replace(".", "/")).with_suffix(".py").unlink()
    program = (
        "import importlib, pkgutil, cryptnox_core, hwilib_cryptnox\n"
        "for package in (cryptnox_core, hwilib_cryptnox):\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(found.name); print(found.name)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-800:]
    expected = {module.name for module in modules().values() if module.room not in FACES} - {*PACKAGES, *DOORS}
    assert set(run.stdout.split()) >= expected


NOT_WITHOUT = {
    "tests/ctl/test_hwi.py": "the plugin's switch",
}
"""Test files of the two programs that are about the plugin, and why."""


@pytest.mark.heavy
@pytest.mark.timeout(2700)
def test_both_programs_work_without_plugin_specter_and_hwilib(tmp_path: Path) -> None:
    """Their tests, run where hwilib and its driver cannot be imported."""
    environment = _without(tmp_path, ("plugin", "specter"), "hwilib", "cryptoadvance")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "docs", "examples", "README.md"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    files = {
        one.relative_to(ROOT).as_posix() for face in ("hwi", "ctl") for one in ROOT.glob(f"tests/{face}/test_*.py")
    }
    assert NOT_WITHOUT.keys() < files
    # The readers belong to the run that this is a part of.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup"]
    run = subprocess.run(
        [*command, "-m", "not pcsc", *sorted(files - NOT_WITHOUT.keys())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2600,
    )
    assert run.returncode == 0, run.stdout[-1500:]


# 3. The order of the folders


def _step(room: str) -> int:
    """Where a folder stands in the order; the package itself may know everything, and nobody knows it but for names."""
    return next((number for number, names in enumerate(ORDER) if room in names), len(ORDER))


def test_every_module_has_a_room() -> None:
    known = {name for names in ORDER for name in names}
    assert [module.name for module in only(WALLET) if module.room and module.room not in known] == []


def test_folders_rest_on_those_before_them() -> None:
    found = []
    for module in only(WALLET):
        for item in module.imports:
            target = _module_of(item.name)
            if not module.room or target is None or not modules()[target].room:
                continue
            if _step(modules()[target].room) > _step(module.room):
                found.append(f"{module.name}:{item.line} imports {item.name}")
    assert found == []


# 4. Purity


def test_pure_modules_touch_no_system() -> None:
    """Randomness is a parameter whose default is os.urandom: that one name may be imported."""
    card = all_but(WALLET, f"{CORE}.transport", f"{CORE}.card", f"{CORE}.emulator.server", f"{CORE}.emulator.vpcd")
    wallet = only(*rooms("psbt", "export", "networks", *(f"signer.{one}" for one in PURE_OF_SIGNER)))
    assert [*offences(card, *IMPURE, but=("os.urandom",)), *offences(wallet, *IMPURE, but=("os.urandom",))] == []
    assert offences(only(f"{CORE}.card"), *(IMPURE - {"logging"})) == []


def test_pyscard_only_in_its_transport() -> None:
    assert offences(all_but(f"{CORE}.transport.pcsc"), "smartcard") == []


def test_python_pkcs11_only_where_tokens_are_used() -> None:
    """And never when a module is loaded: it is an extra."""
    assert offences(all_but(f"{WALLET}.pin.pkcs11", f"{WALLET}.pin.token_keys"), "pkcs11") == []
    loaded = [item for module in modules().values() for item in module.imports if item.within("pkcs11")]
    assert loaded and not any(item.top_level for item in loaded)


# 5. The engine and the emulated card


def test_the_psbt_engine_stands_alone() -> None:
    allowed = (
        f"{CORE}.bip32",
        f"{CORE}.crypto",
        f"{CORE}.errors.UsageError",
        f"{CORE}.wire.MAX_DEPTH",
        f"{CORE}.wire.XPUB_MIN_DEPTH",
        f"{WALLET}.psbt",
        f"{WALLET}.networks",
    )
    assert offences(only(f"{WALLET}.psbt"), *PACKAGES, but=allowed) == []


def test_the_emulator_shares_only_the_wire_definitions() -> None:
    assert offences(only(f"{CORE}.emulator"), *PACKAGES, but=(f"{CORE}.wire", f"{CORE}.emulator")) == []


def test_only_the_command_that_starts_it_knows_the_emulator() -> None:
    others = all_but(f"{CORE}.emulator", f"{WALLET}.ctl.commands.emulator")
    assert offences(others, f"{CORE}.emulator") == []


# 6. Errors


_CUT = frozenset({"removesuffix", "removeprefix", "partition", "rpartition", "startswith", "endswith", "replace"})


def _is_text_of_error(node: ast.AST) -> bool:
    """`str(error)`, `error.args`, `something.message`, or a constant that is a message."""
    text = ast.unparse(node)
    return bool(
        re.fullmatch(r"str\((error|problem|cause|reason|lost|ended|unavailable|exc)\w*\)", text)
        or re.fullmatch(r"(error|problem|cause|told|shown)\.(message|args.*)", text)
        or re.fullmatch(r"(\w+\.)?[A-Z][A-Z_]*_TEXT", text)
    )


def test_errors_are_told_apart_by_their_class() -> None:
    """Never by comparing, searching or cutting their text. (Joining texts is no comparison.)"""
    found = []
    for module in modules().values():
        for node in ast.walk(module.tree):
            sides: list[ast.AST] = []
            if isinstance(node, ast.Compare) and isinstance(
                node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn | ast.Is
            ):
                sides = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CUT:
                sides = [node.func.value, *node.args]
            if any(map(_is_text_of_error, sides)):
                found.append(f"{module.name}:{getattr(node, 'lineno', 0)} {ast.unparse(node)[:80]}")
    assert found == []


# 7. Names


def test_a_command_stands_in_a_file_of_its_name() -> None:
    """What is typed is where it is found."""
    main = (ROOT / WALLET / "ctl" / "main.py").read_text("utf-8")
    places = dict(re.findall(r'^    "([\w-]+)": \(f?"(?:\{_HERE\}|[\w.]+?)\.?commands\.(\w+):', main, re.MULTILINE))
    named = set(re.findall(r'^    "([\w-]+)": \(', main, re.MULTILINE))
    assert len(named) > 25
    wrong = {name: places.get(name) for name in sorted(named)}
    wanted = {name: name.replace("-", "_") for name in named}
    assert {name: place for name, place in wrong.items() if place != wanted[name]} == {}
    files = {path.stem for path in (ROOT / WALLET / "ctl" / "commands").glob("*.py")} - {"__init__"}
    assert files == set(wanted.values())


COVERED_BY: dict[str, str] = {
    # Module: the test file that covers it, where none has its name.
    f"{WALLET}.console.streams": "hwi/test_program.py",
    f"{WALLET}.console.layout": "ctl/test_screens.py",
    f"{WALLET}.ctl.cards": "ctl/test_readers.py",
    f"{WALLET}.ctl.commands.adopt": "ctl/test_vendor_cards.py",
    f"{WALLET}.ctl.commands.emulator": "emulator/test_program.py",
    f"{WALLET}.ctl.commands.forget": "ctl/test_reset.py",
    f"{WALLET}.ctl.commands.history": "ctl/test_audit.py",
    f"{WALLET}.ctl.commands.owner": "ctl/test_pairing.py",
    f"{WALLET}.ctl.examples": "ctl/test_help.py",
    f"{WALLET}.ctl.options": "ctl/test_address.py",
    f"{WALLET}.ctl.psbts": "ctl/test_combine.py",
    f"{WALLET}.ctl.values": "ctl/test_completion.py",
    f"{WALLET}.ctl.review": "ctl/test_hostile.py",
    f"{WALLET}.ctl.screen": "ctl/test_pieces.py",
    f"{WALLET}.ctl.tokens": "ctl/test_pin_auth.py",
    f"{WALLET}.ctl.wallets": "ctl/test_wallet.py",
    f"{WALLET}.electrum.client": "electrum/test_in_electrum.py",
    f"{WALLET}.electrum.cmdline": "electrum/test_command_line.py",
    f"{WALLET}.electrum.keystore": "electrum/test_lies.py",
    f"{WALLET}.electrum.places": "electrum/test_in_electrum.py",
    f"{WALLET}.electrum.plugin": "electrum/test_in_electrum.py",
    f"{WALLET}.electrum.qt": "electrum/test_in_electrum.py",
    f"{WALLET}.electrum.wizard": "electrum/test_cards.py",
    f"{WALLET}.hwi.arguments": "hwi/test_program.py",
    f"{WALLET}.pin.policy": "pin/test_pin_accounting.py",
    f"{WALLET}.pin.token_keys": "pin/test_pkcs11.py",
    f"{WALLET}.plugin.register": "system/interop/test_stock_hwi.py",
    f"{WALLET}.pin.approver": "pin/test_approval.py",
    f"{WALLET}.signer.faults.approved": "pin/test_approval.py",
    f"{WALLET}.signer.signatures.taproot_check": "signer/test_taproot.py",
    f"{WALLET}.signer.faults.heard": "system/life/test_noise.py",
    f"{WALLET}.signer.faults.irreversible": "ctl/test_changes.py",
    f"{WALLET}.signer.mnemonic": "ctl/test_words.py",
    f"{WALLET}.signer.setup.choices": "ctl/test_newcomer.py",
    f"{WALLET}.signer.setup.recovery": "ctl/test_newcomer.py",
    f"{WALLET}.signer.provision": "ctl/test_setup_faults.py",
    f"{WALLET}.signer.setup.stages": "ctl/test_dual.py",
    f"{WALLET}.signer.review.reviewed": "ctl/test_hostile.py",
    f"{WALLET}.signer.faults.steady": "ctl/test_setup_faults.py",
    f"{WALLET}.signer.signatures.kept": "signer/test_signing.py",
    f"{WALLET}.signer.signatures.possible": "signer/test_signing.py",
    f"{WALLET}.signer.signatures.runner": "signer/test_signing.py",
    f"{WALLET}.signer.wallet": "signer/test_signing.py",
    f"{WALLET}.signer.review.wallet_prompts": "hwi/test_registerdescriptor.py",
    f"{WALLET}.storage.audit": "ctl/test_audit.py",
    f"{WALLET}.storage.files": "system/security/test_state_folder.py",
    f"{CORE}.emulator": "emulator",
    f"{CORE}.commands": "core/test_commands.py",
    f"{CORE}.crypto.ripemd160": "core/test_hashes.py",
    f"{CORE}.deviations": "core/test_recording.py",
    f"{CORE}.wire": "system/interop/test_sdk_bytes.py",
    f"{WALLET}.specter": "specter",
    f"{WALLET}.console.wording": "signer/test_shown.py",
    f"{WALLET}.errors": "hwi/test_errors.py",
    f"{WALLET}.export.policy_keys": "signer/test_wallets.py",
    f"{WALLET}.export.policy_script": "signer/test_wallets.py",
    f"{WALLET}.export.policy_text": "signer/test_wallets.py",
    f"{WALLET}.export.policy_words": "signer/test_wallets.py",
    f"{WALLET}.hwi.entries": "hwi/test_listing.py",
    f"{WALLET}.signer.review.message_prompts": "signer/test_shown.py",
    f"{WALLET}.psbt.amounts": "psbt/test_policy.py",
    f"{WALLET}.psbt.checks": "psbt/test_dishonest.py",
    f"{WALLET}.psbt.collect": "psbt/test_policy.py",
    f"{WALLET}.psbt.collected": "psbt/test_policy.py",
    f"{WALLET}.psbt.errors": "psbt/test_dishonest.py",
    f"{WALLET}.psbt.fields": "psbt/test_codec.py",
    f"{WALLET}.psbt.insert": "psbt/test_policy.py",
    f"{WALLET}.psbt.origins": "psbt/test_policy.py",
    f"{WALLET}.psbt.plan": "psbt/test_policy.py",
    f"{WALLET}.psbt.tx": "psbt/test_codec.py",
    f"{WALLET}.psbt.verifying": "psbt/test_finalize.py",
    f"{WALLET}.psbt.weight": "psbt/test_policy.py",
}


def _own_tests(module: Module) -> set[Path]:
    """The test files that bear its name, of those that are there."""
    top, *folders, leaf = module.name.split(".")
    places = [("core",)] if top == CORE else [tuple(folders), tuple(folders[:1])]
    return {one for place in places if (ROOT / "tests" / (one := Path(*place, f"test_{leaf}.py"))).exists()}


def _stands_for_a_folder(module: Module) -> bool:
    return module.path.name in ("__init__.py", "__main__.py")


def test_a_module_has_its_test_file() -> None:
    """tests/ mirrors the packages: `signer/wallet.py` has `tests/signer/test_wallet.py`."""
    missing = [
        module.name
        for module in all_but(*COVERED_BY, *DOORS)
        if not _stands_for_a_folder(module) and not _own_tests(module)
    ]
    assert missing == []


def test_the_table_of_what_covers_a_module_is_true() -> None:
    """What covers it is there, and it has no test file of its own. An entry for a folder stands for those in it that
    have none."""
    assert [place for place in COVERED_BY.values() if not (ROOT / "tests" / place).exists()] == []
    for name in COVERED_BY:
        covered = [module for module in only(name) if not _stands_for_a_folder(module)]
        assert not all(map(_own_tests, covered)), f"{name} needs no entry"


def test_the_size_of_files() -> None:
    long = {
        module.name: lines
        for module in modules().values()
        if (lines := len(module.path.read_text("utf-8").splitlines())) > MOST_LINES and module.name not in LARGE
    }
    assert long == {}


# 8. Cycles, checks, weight, chains


@cache
def _edges(typing: bool = False) -> dict[str, frozenset[str]]:
    """Who imports whom, late imports included; with `typing` also who reads of whom in annotations."""
    found = {}
    for name, module in modules().items():
        package = name if module.path.name == "__init__.py" else name.rpartition(".")[0]
        read = _walk(module.tree, package, top_level=True, typing=True) if typing else iter(module.imports)
        found[name] = frozenset(target for item in read if (target := _module_of(item.name))) - {name}
    return found


@pytest.mark.parametrize("typing", [False, True], ids=["imports", "annotations too"])
def test_no_import_cycles(typing: bool) -> None:
    """Also over imports inside functions: a late import hides a cycle, it mends none."""
    edges = {name: targets - {WALLET, CORE} for name, targets in _edges(typing).items()}
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


def _together(name: str) -> str:
    """The name under which a module counts in a chain."""
    return next((one for one in ONE if name == one or name.startswith(f"{one}.")), name)


def longest_chain(start: str) -> tuple[str, ...]:
    """The longest chain of imports from a module, itself first, annotations included: who reads a module has to read
    those, too. Requires: no cycles."""
    edges: dict[str, set[str]] = {}
    for name, targets in _edges(typing=True).items():
        edges.setdefault(_together(name), set()).update(map(_together, targets))

    @cache
    def longest(name: str) -> tuple[str, ...]:
        # The package's own names (DEVICE_TYPE, the version) are no floor.
        following = [longest(target) for target in edges.get(name, set()) - {name, WALLET}]
        return (name, *max(following, key=len, default=()))

    return longest(_together(start))


def test_no_import_hides_behind_a_name_that_is_made() -> None:
    """Chains and cycles are counted from what the source says. Only tables that lead to whole programs may choose at
    run time."""
    found = {
        module.name
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
        and not (node.args and isinstance(node.args[0], ast.Constant))
    }
    assert found == {CORE, WALLET, f"{WALLET}.ctl.main", f"{WALLET}.plugin.register"}


@pytest.mark.parametrize("start", LONGEST)
def test_the_longest_chain_of_imports(start: str) -> None:
    chain = longest_chain(start)
    assert len(chain) <= LONGEST[start], " -> ".join(chain)


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
        for module in all_but(*rooms("ctl", "hwi"))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_heavy_packages_are_imported_where_they_are_needed() -> None:
    """Not at the top of what every command loads; `ctl/` is for people, who wait for click and rich."""
    everywhere = all_but(*rooms("ctl", "plugin", "specter"), f"{CORE}.emulator", f"{CORE}.crypto", f"{CORE}.transport")
    found = [
        f"{module.name}:{item.line} imports {item.name}"
        for module in everywhere
        for item in module.imports
        if item.top_level and item.within(*HEAVY)
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
    assert _tops(_loaded_by(f"import {WALLET}")) & HEAVY == set()


def test_importing_the_card_package_is_cheap() -> None:
    assert _tops(_loaded_by(f"import {CORE}")) & HEAVY == set()


def test_the_program_loads_no_foreign_driver_and_no_console_library() -> None:
    """What every `hwi-cryptnox` start pays for, where no PC/SC service runs."""
    run = (
        f"import contextlib, io; from {WALLET}.hwi import program\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    sys.argv = ['hwi-cryptnox', 'enumerate']; program.main()\n"
    )
    loaded = _loaded_by(f"exec({run!r})")
    assert PROGRAM in loaded
    assert _tops(loaded) & {"click", "rich", "hid", "usb1", "serial", "libusb1", "bdkpython", "hwilib"} == set()


def test_the_page_of_the_rooms_names_every_module() -> None:
    """docs/rooms.md has a row for each, once, below a heading with its folder, and none for what is not there. Three
    folders of many files of one kind have one row."""
    whole = (f"{CORE}/commands", f"{CORE}/emulator", f"{WALLET}/ctl/commands")
    named, folder = [], ""
    for line in (ROOT / "docs" / "rooms.md").read_text("utf-8").splitlines():
        if heading := re.match(r"#+ .*`([\w/]+)/`$", line):
            folder = heading[1]
        elif row := re.match(r"\| `([\w./]+)` \| \S", line):
            named.append(f"{folder}/{row[1]}")
    there = set()
    for module in modules().values():
        path = module.path.relative_to(ROOT)
        if path.parent.as_posix() in whole:
            there.add(f"{path.parent.as_posix()}/")
        elif path.name != "__init__.py" or len(path.parts) == 2:
            there.add(path.as_posix())
    assert sorted(named) == sorted(there)
