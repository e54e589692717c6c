"""Our own binding of pcsc-lite: its numbers, which library is chosen, and what is said where there is none."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core.errors import ServiceUnavailableError, SupportMissingError
from cryptnox_core.transport import pcsc, pcsclite

HEADER = Path("/usr/include/PCSC/pcsclite.h")
NUMBERS = {
    name: value for name, value in vars(pcsclite).items() if name.startswith("SCARD_") and isinstance(value, int)
}


@pytest.fixture
def loaded_anew() -> Iterator[None]:
    pcsclite.load.cache_clear()
    yield
    pcsclite.load.cache_clear()


def test_the_numbers_are_pyscards() -> None:
    scard = pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    assert len(NUMBERS) > 25
    assert {name: getattr(scard, name) & 0xFFFFFFFF for name in NUMBERS} == NUMBERS


def test_the_numbers_are_those_of_the_header() -> None:
    if not HEADER.exists():
        pytest.skip("the headers of pcsc-lite (package libpcsclite-dev) are not installed")
    found = re.findall(r"#define (SCARD_\w+)\s+(?:\(\(LONG\))?(0x[0-9A-Fa-f]+)", HEADER.read_text())
    defined = {name: int(value, 16) for name, value in found}
    assert {name: defined[name] for name in NUMBERS} == NUMBERS


def test_the_structures_are_those_of_linux() -> None:
    """Eight bytes a DWORD on 64 bits, and the ATR behind three of them."""
    word = ctypes.sizeof(ctypes.c_void_p)
    assert ctypes.sizeof(pcsclite._IoRequest) == 2 * word
    assert pcsclite._ReaderState.atr.offset == 5 * word
    assert ctypes.sizeof(pcsclite._ReaderState) == 5 * word + (40 if word == 8 else 36)


def test_what_the_library_says_about_a_code() -> None:
    try:
        pcsclite.load()
    except OSError:
        pytest.skip(f"{pcsclite.LIBRARY} is not installed (package libpcsclite1)")
    assert "nternal" in pcsclite.SCardGetErrorMessage(pcsclite.SCARD_F_INTERNAL_ERROR)
    told = str(pcsc._failure(pcsclite, pcsclite.SCARD_F_INTERNAL_ERROR, "reader"))
    assert told.startswith("reader: ") and told.endswith("(PC/SC error 80100001)")


class Growing:
    """SCardListReaders of a service that gets a second reader between the two calls."""

    def __init__(self) -> None:
        self.names = [b"One\0\0", "One\0Zwei \u00fc\0\0".encode(), "One\0Zwei \u00fc\0\0".encode()]

    def SCardListReaders(self, context: int, groups: None, names: ctypes.Array[ctypes.c_char] | None, length) -> int:
        there = self.names[0] if len(self.names) == 1 else self.names.pop(0)
        room, length._obj.value = length._obj.value, len(there)
        if names is not None:
            if room < len(there):
                return pcsclite.SCARD_E_INSUFFICIENT_BUFFER
            names[: len(there)] = there
        return pcsclite.SCARD_S_SUCCESS


def test_a_reader_that_comes_between_the_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    growing = Growing()
    monkeypatch.setattr(pcsclite, "load", lambda: growing)
    assert pcsclite.SCardListReaders(1, []) == (0, ["One", "Zwei \u00fc"])


# Which is chosen


def away(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_pyscard_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    assert pcsc.library() == "pyscard"
    for name in pcsc.LIBRARIES:
        monkeypatch.setenv("CRYPTNOX_PCSC", name)
        assert pcsc.library() == name


def test_our_own_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    away(monkeypatch, "smartcard", "smartcard.scard")
    monkeypatch.setattr(pcsclite, "load", lambda: None)
    assert pcsc.library() == "pcsclite"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_never_on_macos_and_windows(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their types are others."""
    away(monkeypatch, "smartcard", "smartcard.scard")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(pcsclite, "load", lambda: pytest.fail("it is not for this system"))
    with pytest.raises(SupportMissingError, match="pyscard"):
        pcsc.list_readers()


def test_neither(monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    away(monkeypatch, "smartcard", "smartcard.scard")
    monkeypatch.setattr(pcsclite, "LIBRARY", "libno-such-library.so.1")
    with pytest.raises(SupportMissingError, match=r"libno-such-library\.so\.1.*pcscd"):
        pcsc.list_readers()


def test_a_library_without_a_function(monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    away(monkeypatch, "smartcard", "smartcard.scard")
    monkeypatch.setattr(pcsclite, "LIBRARY", "libc.so.6")
    with pytest.raises(SupportMissingError):
        pcsc.card_present("reader")


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTNOX_PCSC", "winscard")
    with pytest.raises(ServiceUnavailableError, match=r"CRYPTNOX_PCSC.*'winscard'"):
        pcsc.list_readers()
