"""`pin/token_modules`: only files that are meant are loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwilib_cryptnox.errors import BadRequestError, NoApproverError
from hwilib_cryptnox.pin import token_modules
from hwilib_cryptnox.pin.token_modules import module_file, split

ENDING = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folders, in the test's own."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(token_modules, "_folders", lambda: iter([tmp_path / "first", tmp_path / "second"]))
    return tmp_path


def module(folder: Path, name: str) -> str:
    file = folder / name
    file.write_bytes(b"")
    return str(file)


def test_a_path(folders: Path) -> None:
    file = module(folders, "mine.so")
    assert module_file(file, None) == file
    with pytest.raises(NoApproverError, match="there is no PKCS#11 module"):
        module_file(str(folders / "other.so"), None)
    with pytest.raises(NoApproverError):
        module_file(str(folders), None)


@pytest.mark.parametrize("path", ["mine.so", "./mine.so", "sub/mine.so", "../mine.so"])
def test_nothing_of_the_current_folder(path: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded runs with all our rights."""
    monkeypatch.chdir(folders)
    (folders / "sub").mkdir()
    for name in ("mine.so", "sub/mine.so", f"mine{ENDING}", f"libmine{ENDING}"):
        module(folders, name)
    with pytest.raises(BadRequestError, match="begins at the root"):
        module_file(path, None)
    with pytest.raises((BadRequestError, NoApproverError)):
        module_file(None, path)
    with pytest.raises(NoApproverError):
        module_file(None, "mine")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ykcs11", f"libykcs11{ENDING}"),
        ("yubikey", f"libykcs11{ENDING}.2"),
        ("opensc", f"opensc-pkcs11{ENDING}"),
        ("opensc-pkcs11", f"opensc-pkcs11{ENDING}"),
        ("tpm2", f"libtpm2_pkcs11{ENDING}.1"),
        ("softhsm2", f"libsofthsm2{ENDING}"),
        ("vendor", f"libvendor{ENDING}"),
        (None, f"p11-kit-proxy{ENDING}"),
    ],
)
def test_by_name(name: str | None, file: str, folders: Path) -> None:
    with pytest.raises(NoApproverError, match="is not installed"):
        module_file(None, name)
    later = module(folders / "second", file)
    assert module_file(None, name) == later
    assert module_file(None, name) != module(folders / "first", file)
    assert Path(module_file(None, name)).parent.name == "first"


def test_what_a_person_names() -> None:
    assert split("opensc") == (None, "opensc")
    assert split("/usr/lib/x.so") == ("/usr/lib/x.so", None)
    assert split("./x.so") == ("./x.so", None)


def test_the_systems_folders_are_absolute() -> None:
    assert all(folder.is_absolute() for folder in token_modules._folders())


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_what_everyone_can_write_is_not_loaded(folders: Path) -> None:
    """A module runs with all rights of the program: neither the file nor its folder is open to all."""
    file = Path(module(folders / "first", "mine.so"))
    file.chmod(0o666)
    with pytest.raises(NoApproverError, match="everyone can write"):
        module_file(str(file), None)
    file.chmod(0o644)
    assert module_file(str(file), None) == str(file)
    for mode, loaded in ((0o777, False), (0o1777, True)):  # in a folder like /tmp a file is its owner's
        file.parent.chmod(mode)
        if loaded:
            assert module_file(str(file), None) == str(file)
        else:
            with pytest.raises(NoApproverError, match="everyone can write"):
                module_file(str(file), None)
    (folders / "link.so").symlink_to(file)
    file.parent.chmod(0o777)
    with pytest.raises(NoApproverError, match="everyone can write"):
        module_file(str(folders / "link.so"), None)
