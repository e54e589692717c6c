"""Where PKCS#11 modules are: the libraries by which programs talk to YubiKeys, TPMs and smart cards."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from hwilib_cryptnox.errors import BadRequestError, NoApproverError
from hwilib_cryptnox.storage.files import anybody_can_write

DEFAULT = "p11-kit-proxy"
"""p11-kit's, behind which are all modules that the system knows."""
NAMES = {
    "ykcs11": "libykcs11",
    "yubikey": "libykcs11",
    "opensc": "opensc-pkcs11",
    "tpm2": "libtpm2_pkcs11",
    "softhsm2": "libsofthsm2",
    "p11-kit": DEFAULT,
}
"""Short names of modules, and what their files are called."""
_ENDINGS = {"win32": (".dll",), "darwin": (".dylib", ".so")}
_INSTALL = "install it, or give the path of its file; its name ends in .so, .dylib or .dll"


def module_file(path: str | None, name: str | None) -> str:
    """The file of a module: `path`, or the one with this name in the folders where modules are; the default's for
    neither. The current folder is none of them: what is loaded runs with all rights of this program.

    Raises: BadRequestError for a path that is not absolute; NoApproverError where there is no such module, and
    for one that everybody can write.
    """
    if path is not None:
        if not Path(path).is_absolute():
            raise BadRequestError(f"the path of a PKCS#11 module begins at the root: {path} does not")
        if not Path(path).is_file():
            raise NoApproverError(f"there is no PKCS#11 module {path}", hint=_INSTALL)
        if anybody_can_write(Path(path)):
            raise NoApproverError(
                f"everyone can write the PKCS#11 module {path}, so it was not loaded", hint="chmod o-w takes that away"
            )
        return path
    wanted = name or DEFAULT
    if Path(wanted).name != wanted:
        raise BadRequestError(f"{wanted} is not the name of a PKCS#11 module")
    for folder in _folders():
        for stem in _stems(wanted):
            for ending in _ENDINGS.get(sys.platform, (".so",)):
                found = [folder / f"{stem}{ending}", *sorted(folder.glob(f"{stem}{ending}.*"))]
                for file in found:
                    if file.is_file():
                        return str(file)
    what = f"the PKCS#11 module {wanted}" if name else "a PKCS#11 module (p11-kit's)"
    raise NoApproverError(f"{what} is not installed in a folder where modules are", hint=_INSTALL)


def split(module: str) -> tuple[str | None, str | None]:
    """A module as a person names it, as path and name: a path in which a folder stands, or a name."""
    return (module, None) if Path(module).name != module else (None, module)


def _stems(name: str) -> list[str]:
    known = [NAMES[name]] if name in NAMES else []
    return [*known, name, f"lib{name}", f"{name}-pkcs11", f"lib{name}-pkcs11", f"lib{name}_pkcs11"]


def _folders() -> Iterator[Path]:
    """The system's folders of modules."""
    if sys.platform == "win32":
        for variable in ("ProgramFiles", "ProgramFiles(x86)"):
            if base := os.environ.get(variable):
                yield Path(base) / "Yubico" / "Yubico PIV Tool" / "bin"
                yield Path(base) / "OpenSC Project" / "OpenSC" / "pkcs11"
        return
    if sys.platform == "darwin":
        bases = ["/opt/homebrew/lib", "/usr/local/lib", "/Library/OpenSC/lib"]
    else:
        machine = platform.machine()
        bases = [f"/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"]
    for base in map(Path, bases):
        yield from (base / "pkcs11", base, base / "softhsm")
