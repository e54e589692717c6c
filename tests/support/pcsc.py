"""The virtual PC/SC reader (vsmartcard's vpcd under pcscd) as tests use it: its lock, its service, its two slots.

There is one such reader on a machine, so a file lock in the system's temporary folder is taken first. pcscd is started
only when none answers, and only the one started here is ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from cryptnox_core.card import Card
from cryptnox_core.errors import PinLockedError, WrongPinError
from cryptnox_core.transport import pcsclite
from tests.support.emulator import EmulatorProcess
from tests.support.scard import scard

LOCK_FILE = Path(tempfile.gettempdir()) / "hwi-cryptnox-virtual-readers.lock"
LOCK_WAIT = float(os.environ.get("CRYPTNOX_TEST_READER_WAIT", "600"))
"""Seconds the lock is waited for; less than the time limit the tests marked `pcsc` get."""

SLOTS = ("Virtual PCD 00 00", "Virtual PCD 00 01")
PORTS = (35963, 35964)
"""TCP ports on 127.0.0.1 where the reader driver waits for the card of each slot."""

ANOTHER_CARD = "from cryptnox_core import wire; wire.AID = bytes(7)"
"""What makes an emulated card none of ours: its applet has another name."""

DBUS = Path("/run/dbus/system_bus_socket")
SERVICE_WAIT = 25.0
SLOTS_WAIT = 10.0
"""Seconds: until pcscd has both slots; until one that was started here has them or is started again."""
CARD_WAIT = 20.0
ABSENCE = 1.6
"""Seconds a slot stays empty between two cards: pcscd can miss less and then takes the slot for empty."""


class UnavailableError(Exception):
    """The virtual readers cannot be had here; the text says why."""


class VirtualReaders:
    """Both slots, for the one process that holds the lock. A context manager that gives everything back."""

    def __init__(self, lock: int, service: subprocess.Popen[bytes] | None, folder: Path) -> None:
        self._lock = lock
        self._service = service
        self._folder = folder
        self._emptied = [0.0, 0.0]

    @classmethod
    def acquire(cls, folder: Path, wait: float = LOCK_WAIT) -> VirtualReaders:
        """Take the lock within `wait` seconds and see to the service. `folder` receives pcscd's log. Raises
        UnavailableError."""
        if scard is pcsclite:
            try:
                pcsclite.load()
            except OSError as error:
                raise UnavailableError(f"neither pyscard nor {pcsclite.LIBRARY} is installed") from error
        lock = take_lock(LOCK_FILE, wait)
        try:
            return cls(lock, _service(folder), folder)
        except UnavailableError:
            os.close(lock)
            raise

    def __enter__(self) -> VirtualReaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait until the slots may be used again, end a service started here, release the lock."""
        for emptied in self._emptied:
            _wait_since(emptied)
        if self._service is not None:
            _end(self._service)
        os.close(self._lock)

    @contextlib.contextmanager
    def card(self, *options: str, slot: int = 0, maker: str = "", unlike: str = "") -> Iterator[EmulatorProcess]:
        """An emulated card in one slot, started with these options of `cryptnoxctl emulator`. `maker`, `unlike`: see
        `EmulatorProcess`."""
        _wait_since(self._emptied[slot])
        _wait_for_card(slot, present=False)
        with EmulatorProcess(*options, vpcd=f"127.0.0.1:{PORTS[slot]}", maker=maker, unlike=unlike) as emulator:
            try:
                _wait_for_card(slot, present=True)
                yield emulator
            finally:
                emulator.stop()
                _wait_for_card(slot, present=False)
                self._emptied[slot] = time.monotonic()


@contextlib.contextmanager
def sharing(reader: str) -> Iterator[Callable[[], bool]]:
    """Another program that shares a reader, idle. Tells whether its session with the card is still alive."""
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    code, card, _ = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
    assert code == scard.SCARD_S_SUCCESS

    def alive() -> bool:
        return bool(scard.SCardTransmit(card, scard.SCARD_PCI_T1, [0, 0xA4, 4, 0])[0] == scard.SCARD_S_SUCCESS)

    try:
        yield alive
    finally:
        scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
        scard.SCardReleaseContext(context)


def take_lock(path: Path, wait: float) -> int:
    """Take the file lock within `wait` seconds; its file descriptor, to be closed. Raises UnavailableError."""
    import fcntl  # not on Windows, where nothing else of this module is wanted

    with contextlib.suppress(OSError):
        path.touch(mode=0o666)
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(f"the lock file {path} cannot be opened: {error.strerror}") from error
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(lock)
                raise UnavailableError(f"another test run held them for more than {wait:.0f} s") from None
            time.sleep(0.2)
        else:
            return lock


def _service(folder: Path) -> subprocess.Popen[bytes] | None:
    """Make sure that pcscd serves both slots; the process when it was started here. One that has no slots is on its way
    in or out, and is given time; one of ours that came before another had freed their ports is started again."""
    started, slots_due = None, 0.0
    end = time.monotonic() + SERVICE_WAIT
    while True:
        readers = _readers()
        if readers is not None and set(SLOTS) <= set(readers):
            return started
        if time.monotonic() > end or (started is not None and started.poll() is not None):
            break
        if started is not None and time.monotonic() > slots_due:
            _end(started)
            started = None
        elif readers is None and started is None:
            started, slots_due = _start_service(folder), time.monotonic() + SLOTS_WAIT
        time.sleep(0.1)
    if started is not None:
        _end(started)
    what = "does not answer" if readers is None else f"has no virtual reader, only {list(readers)}"
    raise UnavailableError(f"pcscd {what} (Debian: packages pcscd and vsmartcard-vpcd; started as root, or by systemd)")


def _end(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    service.wait(timeout=10)


def _start_service(folder: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("pcscd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise UnavailableError("pcscd is not installed (Debian: packages pcscd and vsmartcard-vpcd)")
    if os.geteuid() != 0:
        raise UnavailableError("pcscd is not running, and starting it takes root")
    # It asks polkit over D-Bus, and where there is none (a container) it lets nobody in.
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    polkit = ["--disable-polkit"] if "--disable-polkit" in known.stdout + known.stderr and not DBUS.exists() else []
    with (folder / "pcscd.log").open("ab") as log:
        return subprocess.Popen(
            [program, "--foreground", *polkit], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _readers() -> tuple[str, ...] | None:
    """The readers pcscd knows; None when it does not answer."""
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if result != scard.SCARD_S_SUCCESS:
        return None
    try:
        result, names = scard.SCardListReaders(context, [])
        return tuple(names) if result == scard.SCARD_S_SUCCESS else ()
    finally:
        scard.SCardReleaseContext(context)


def card_present(slot: int) -> bool:
    """Whether pcscd sees a card in the slot now."""
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if result != scard.SCARD_S_SUCCESS:
        return False
    try:
        result, states = scard.SCardGetStatusChange(context, 0, [(SLOTS[slot], scard.SCARD_STATE_UNAWARE)])
        return result == scard.SCARD_S_SUCCESS and bool(states[0][1] & scard.SCARD_STATE_PRESENT)
    finally:
        scard.SCardReleaseContext(context)


def _wait_for_card(slot: int, *, present: bool) -> None:
    end = time.monotonic() + CARD_WAIT
    while card_present(slot) != present:
        if time.monotonic() > end:
            state = "did not see the card that was put into it" if present else "still shows a card that is not ours"
            raise RuntimeError(f"{SLOTS[slot]} {state}: is another program using the virtual reader?")
        time.sleep(0.05)


def _wait_since(moment: float) -> None:
    time.sleep(max(0.0, moment + ABSENCE - time.monotonic()))


class _Shared:
    """A shared connection to the card in a slot, which stays powered: another program's, which does not reset it."""

    def __init__(self, slot: int) -> None:
        self.name = SLOTS[slot]
        _, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        result, self._handle, _ = scard.SCardConnect(
            self._context, self.name, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1
        )
        assert result == scard.SCARD_S_SUCCESS

    def transmit(self, apdu: bytes) -> bytes:
        result, answer = scard.SCardTransmit(self._handle, scard.SCARD_PCI_T1, list(apdu))
        assert result == scard.SCARD_S_SUCCESS
        return bytes(answer)

    def close(self) -> None:
        scard.SCardDisconnect(self._handle, scard.SCARD_UNPOWER_CARD)
        scard.SCardReleaseContext(self._context)


@contextlib.contextmanager
def soft_locked(slot: int) -> Iterator[None]:
    """Another program shares the reader and has spent the three PIN tries of the session. At the end the card loses
    power and is well again."""
    with Card(_Shared(slot)) as card:
        card.open_channel()
        for _ in range(3):
            with contextlib.suppress(WrongPinError, PinLockedError):
                card.verify_pin("9999")
        yield
