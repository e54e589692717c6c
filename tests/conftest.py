"""Options, isolation and shared fixtures of the whole test suite."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pcsc

try:
    from smartcard import scard
except ImportError:
    scard = None

_KEPT = frozenset({"CRYPTNOX_VECTORS", "CRYPTNOX_NOT_TESTED", "CRYPTNOX_TEST_READER_WAIT"})
"""Environment variables of ours that tests may see; every other CRYPTNOX_* one is taken away."""

_deselected: Counter[str] = Counter()

# The size of the tests' own terminal, which workers hand on: programs have terminals of their own.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the long tests (marked `heavy`) as well")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = []
    for item in items:
        if item.get_closest_marker("heavy") and not config.getoption("--all"):
            _deselected[str(item.path.relative_to(config.rootpath))] += 1
        else:
            chosen.append(item)
    if len(chosen) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tables that tests made, and what was left out, so that a green run does not claim more than it did."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    for title, *rows in (value for report in reports for name, value in report.user_properties if name == "table"):
        terminalreporter.section(title)
        for row in rows:
            terminalreporter.write_line(row)
    lines = [line for line in os.environ.get("CRYPTNOX_NOT_TESTED", "").splitlines() if line]
    heavy = _deselected or Counter(getattr(config, "_left_out", {}))
    lines += [f"{count} long test(s) in {name} (run with --all)" for name, count in sorted(heavy.items())]
    reasons = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    lines += [f"{count} test(s) skipped: {reason}" for reason, count in sorted(reasons.items())]
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.write_line(line)


def _skip_reason(report: pytest.TestReport) -> str:
    longrepr = report.longrepr
    return longrepr[2].removeprefix("Skipped: ") if isinstance(longrepr, tuple) else str(longrepr)


class _LeftOut:
    """With pytest-xdist only the workers collect: they hand their count of long tests to the process that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        output = getattr(node, "workeroutput", {})
        if "left_out" in output:
            self._config._left_out = output["left_out"]


class _Readers:
    """There is one pair of virtual reader slots: one worker runs all tests with them, one after the other."""

    @pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the groups
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.get_closest_marker("pcsc"):
                item.add_marker(pytest.mark.xdist_group("pcsc"))
                if not item.get_closest_marker("timeout"):
                    item.add_marker(pytest.mark.timeout(pcsc.LOCK_WAIT + 300))


def pytest_configure(config: pytest.Config) -> None:
    # A job that a shell puts into the background ignores Ctrl-C, and so would every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(_LeftOut(config))
    config.pluginmanager.register(_Readers())


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = dict(_deselected)


_number = itertools.count()


@pytest.fixture(autouse=True)
def isolated(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Each test has its own state and configuration folder (not made yet), no setting of the caller's, no display.

    Tests without the marker `pcsc` find no PC/SC service, in this process and in those they start: they must not meet
    the developer's own card, nor the virtual one another worker is using.
    """
    home = tmp_path_factory.getbasetemp() / f"home{next(_number)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    for name in os.environ:
        if name.startswith("CRYPTNOX_") and name not in _KEPT:
            monkeypatch.delenv(name)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY", "GPG_AGENT_INFO"):
        monkeypatch.delenv(name, raising=False)
    if not request.node.get_closest_marker("pcsc"):
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(home / "no-pcscd"))
        if scard is not None:
            monkeypatch.setattr(scard, "SCardEstablishContext", lambda scope: (scard.SCARD_E_NO_SERVICE, 0))
    yield
    # Whatever ignores Ctrl-C after its own end takes it from all programs that later tests start.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(scope="module")
def virtual_readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pcsc.VirtualReaders]:
    """The two slots of the virtual PC/SC reader, held for one test module under the machine-wide lock.

    The module's tests carry the marker `pcsc`.

    Where they cannot be had the test fails in CI (environment variable CI) and is skipped elsewhere, with the reason.
    """
    try:
        readers = pcsc.VirtualReaders.acquire(tmp_path_factory.getbasetemp())
    except pcsc.UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"the virtual card readers are needed in CI: {error}")
        pytest.skip(f"NO VIRTUAL CARD READERS: {error}")
    with readers:
        yield readers


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of published test vectors (environment variable CRYPTNOX_VECTORS); skips where there is none."""
    folder = os.environ.get("CRYPTNOX_VECTORS", "")
    if not folder:
        pytest.skip("CRYPTNOX_VECTORS is not set: the full sets of published vectors are left out")
    return Path(folder)
