"""Options, isolation and shared fixtures of the whole test suite."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core.transport import pcsclite
from cryptnox_core.transport.pcsc import LIBRARIES
from tests.support import pcsc
from tests.support.scard import pyscard

_KEPT = frozenset({"CRYPTNOX_VECTORS", "CRYPTNOX_NOT_TESTED", "CRYPTNOX_TEST_READER_WAIT"})
"""Environment variables of ours that tests may see; every other CRYPTNOX_* one is taken away."""

_TESTS = Path(__file__).parent
QUICK = (
    "core",
    "emulator",
    "export",
    "psbt",
    "signer/test_messages.py",
    "signer/test_shown.py",
    "storage/test_settings.py",
    "storage/test_state.py",
    "test_architecture.py",
)
"""Folders and files of the inner loop (`--quick`). They start no process, which is watched in every run."""
NOT_QUICK = frozenset(
    # These start processes,
    {
        "core/test_first_block.py",
        "core/test_library.py",
        "core/test_library_values.py",
        "core/test_pcsc.py",
        "core/test_recording.py",
        "core/test_tcp.py",
        "emulator/test_program.py",
        "emulator/test_vpcd.py",
        "psbt/test_honest.py",
        "psbt/test_outcomes_on_card.py",
    }
    # and these take long, or measure time.
    | {
        "core/test_derivation_oracle.py",
        "core/test_derivation_rule.py",
        "core/test_generous_card.py",
        "core/test_hostile_card.py",
        "psbt/test_many_keys.py",
        "psbt/test_properties.py",
        "psbt/test_runs.py",
    }
)
_STARTS_PYTHON = frozenset({"test_architecture.py"})
"""Quick all the same: what a fresh interpreter loads is what it looks at."""
_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"})
_running = ""
"""The quick file of which a test runs."""

_deselected: Counter[str] = Counter()


def is_quick(path: Path) -> bool:
    """Whether a test file belongs to the inner loop."""
    name = path.relative_to(_TESTS).as_posix() if path.is_relative_to(_TESTS) else ""
    return name not in NOT_QUICK and any(name == place or name.startswith(f"{place}/") for place in QUICK)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _running and event in _STARTS:
        raise RuntimeError(f"tests/{_running} is one of the quick tests, which start no process (tests/conftest.py)")


sys.addaudithook(_watch)

# The size of the tests' own terminal, which workers hand on: programs have terminals of their own.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the long tests (marked `heavy`) as well")
    parser.addoption("--quick", action="store_true", help="run only the tests that start no process and take no time")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick` other files are not even loaded."""
    if config.getoption("--quick") and collection_path.name.startswith("test_") and collection_path.is_file():
        return not is_quick(collection_path) or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What a test does is noted against its file, its fixtures included."""
    global _running
    name = item.path.relative_to(_TESTS).as_posix() if is_quick(item.path) else ""
    _running = "" if name in _STARTS_PYTHON else name
    try:
        return (yield)
    finally:
        _running = ""


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
    # What may take long begins first, so that no worker waits for another at the end.
    items.sort(key=lambda item: not _may_take_long(item, config))


def _may_take_long(item: pytest.Item, config: pytest.Config) -> bool:
    limit = item.get_closest_marker("timeout")
    return limit is not None and limit.args[0] > float(config.getini("timeout"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tables that tests made, and what was left out, so that a green run does not claim more than it did."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    for title, *rows in (value for report in reports for name, value in report.user_properties if name == "table"):
        terminalreporter.section(title)
        for row in rows:
            terminalreporter.write_line(row)
    lines = [line for line in os.environ.get("CRYPTNOX_NOT_TESTED", "").splitlines() if line]
    if config.getoption("--quick"):
        lines.append("the tests that start processes, need a reader or take long (run without --quick)")
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
    if config.getoption("--quick") and config.getoption("--all"):
        raise pytest.UsageError("--quick or --all, not both")
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
        for scard in filter(None, (pyscard, pcsclite)):
            none = (scard.SCARD_E_NO_SERVICE, 0)
            monkeypatch.setattr(scard, "SCardEstablishContext", lambda scope, none=none: none)
    yield
    # Whatever ignores Ctrl-C after its own end takes it from all programs that later tests start.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the transport itself, `pcsc("both")`, use each PC/SC library; with `--all` the others do, too."""
    marker = metafunc.definition.get_closest_marker("pcsc")
    if marker and (marker.args == ("both",) or metafunc.config.getoption("--all")):
        metafunc.fixturenames.append("pcsc_library")
        metafunc.parametrize("pcsc_library", LIBRARIES, indirect=True)


@pytest.fixture
def pcsc_library(isolated: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The PC/SC library that this process and those it starts use."""
    if request.param == "pyscard" and pyscard is None:
        pytest.skip("pyscard is not installed: only our own binding of pcsc-lite is tested")
    monkeypatch.setenv("CRYPTNOX_PCSC", request.param)
    return str(request.param)


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
