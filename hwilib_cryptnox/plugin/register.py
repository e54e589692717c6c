"""Making hwilib see the card: `register()` in a program of one's own, `enable()` for the stock `hwi` program.

The module itself can be called: `hwilib_cryptnox.register()` is `hwilib_cryptnox.register.register()`.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

DEVICES = "hwilib.devices"
NAME = "cryptnox"
MODULE = f"{DEVICES}.{NAME}"
AUTOLOAD_FILE = "hwi-cryptnox-autoload.pth"
_HOOK = (
    "import sys; sys.meta_path.insert(0, type('CryptnoxAutoload', (), {'find_spec': staticmethod("
    "lambda name, path=None, target=None: None if name != 'hwilib.devices' "
    "or __import__('importlib.util').util.find_spec('hwilib_cryptnox') is None else "
    "__import__('hwilib_cryptnox.register', fromlist=['autoload']).autoload(name, path))})())\n"
)
"""One line that Python runs at start: a name is compared at each import, and nothing is loaded before hwilib's drivers
are. Where this project was removed it does nothing. Files with this line are on disk: it stays as it is."""


def _driver() -> ModuleType:
    """The driver's module, in a hwilib that keeps PSBTs of version 2."""
    from importlib import import_module

    import_module("hwilib_cryptnox.plugin.version2").mend()
    return import_module("hwilib_cryptnox.plugin.client")


def register() -> None:
    """Make hwilib list and open Cryptnox cards beside its own devices, in this process. Harmless when called again.

    A hwilib that changes PSBTs of version 2 while reading them is mended: call it before they are read."""
    from importlib import import_module

    names = import_module(DEVICES).__all__
    sys.modules[MODULE] = _driver()
    if NAME not in names:
        names.append(NAME)


class _DriverLoader(Loader):
    """Puts the driver's module in the place hwilib imports it from."""

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the default module is replaced below
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = _driver()


class _DriverFinder:
    """Finds `hwilib.devices.cryptnox`, which is loaded only when hwilib asks for it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        return ModuleSpec(name, _DriverLoader()) if name == MODULE else None


class _DevicesLoader(Loader):
    """hwilib's own loader of its list of drivers, which then gets one name more."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if NAME not in module.__all__:
            module.__all__.append(NAME)
        sys.meta_path.append(_DriverFinder)


def autoload(name: str, path: object) -> ModuleSpec | None:
    """Called by the start-up line when `hwilib.devices` is imported: its real spec, with the driver's name added."""
    for finder in sys.meta_path:
        if type(finder).__name__ == "CryptnoxAutoload" or not hasattr(finder, "find_spec"):
            continue
        spec: ModuleSpec | None = finder.find_spec(name, path, None)  # type: ignore[arg-type]
        if spec is not None:
            if spec.loader is not None:
                spec.loader = _DevicesLoader(spec.loader)
            return spec
    return None


def autoload_file() -> Path:
    """The start-up file of this Python environment."""
    return Path(sysconfig.get_path("purelib")) / AUTOLOAD_FILE


def enable() -> Path:
    """Make the stock `hwi` program of this environment see the card, from now on. Returns the file that does it."""
    path = autoload_file()
    path.write_text(_HOOK, encoding="ascii")
    return path


def disable() -> Path:
    """Undo `enable`. Returns the file that is gone."""
    path = autoload_file()
    path.unlink(missing_ok=True)
    return path


def status() -> bool:
    """Whether the stock `hwi` program of this environment sees the card."""
    path = autoload_file()
    return path.exists() and path.read_text(encoding="utf-8", errors="replace") == _HOOK


class _Callable(ModuleType):
    """The package's attribute `register` is this module as soon as it is imported, so it has to be callable too."""

    def __call__(self) -> None:
        register()


sys.modules[__name__].__class__ = _Callable
