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
    "console/test_told.py",
    "console/test_weak.py",
    "core",
    "ctl/test_pieces.py",
    "electrum/test_errors.py",
    "electrum/test_pins.py",
    "electrum/test_review.py",
    "emulator",
    "export",
    "hwi/test_errors.py",
    "psbt",
    "signer/test_keys.py",
    "signer/test_messages.py",
    "signer/test_shown.py",
    "specter/test_page.py",
    "storage/test_settings.py",
    "storage/test_state.py",
    "system/frozen/test_places.py",
    "system/test_habits.py",
    "test_architecture.py",
    "test_networks.py",
)
"""Folders and files of the inner loop (`--quick`) on every system. They start no process, which is watched in every
run."""
QUICK_ON_LINUX = (
    "ctl",
    "hwi",
    "pin",
    "plugin",
    "signer",
    "storage",
    "system/frozen",
    "system/life/test_judge.py",
    "system/security/test_objects.py",
    "system/security/test_state_folder.py",
)
"""Those that are quick where programs of ours are forked."""
FORKING = frozenset(
    {
        "core/test_discovery.py",
        "core/test_first_block.py",
        "core/test_library.py",
        "core/test_library_values.py",
        "core/test_recording.py",
        "emulator/test_vpcd.py",
        "psbt/test_honest.py",
    }
)
"""In the folders of `QUICK`, and yet quick on Linux only: they start programs of ours."""
LONG = frozenset(
    {
        "console/test_terminal.py",
        "core/test_derivation.py",
        "core/test_derivation_oracle.py",
        "core/test_derivation_rule.py",
        "core/test_faults.py",
        "core/test_generous_card.py",
        "core/test_hostile_card.py",
        "core/test_pcsc.py",
        "core/test_recording.py",
        "core/test_tcp.py",
        "ctl/test_address.py",
        "ctl/test_audit.py",
        "ctl/test_changes.py",
        "ctl/test_clone.py",
        "ctl/test_completion.py",
        "ctl/test_derived.py",
        "ctl/test_dual.py",
        "ctl/test_errors.py",
        "ctl/test_export.py",
        "ctl/test_files.py",
        "ctl/test_hostile.py",
        "ctl/test_hwi.py",
        "ctl/test_logs.py",
        "ctl/test_man_in_the_middle.py",
        "ctl/test_newcomer.py",
        "ctl/test_pairing.py",
        "ctl/test_pin_auth.py",
        "ctl/test_qr.py",
        "ctl/test_secrets.py",
        "ctl/test_setup.py",
        "ctl/test_setup_faults.py",
        "ctl/test_taproot.py",
        "ctl/test_user_key.py",
        "ctl/test_verify.py",
        "ctl/test_wallet.py",
        "ctl/test_words.py",
        "emulator/test_musig2.py",
        "emulator/test_program.py",
        "emulator/test_sdk.py",
        "emulator/test_vpcd.py",
        "export/test_imports.py",
        "hwi/test_program.py",
        "hwi/test_registerdescriptor.py",
        "hwi/test_setup.py",
        "pin/test_approval.py",
        "pin/test_approval_faults.py",
        "pin/test_assuan.py",
        "pin/test_pin_accounting.py",
        "pin/test_pkcs11.py",
        "pin/test_sources.py",
        "plugin/test_embedding.py",
        "psbt/test_many_keys.py",
        "psbt/test_musig_attacks.py",
        "psbt/test_outcomes_on_card.py",
        "psbt/test_properties.py",
        "psbt/test_runs.py",
        "signer/test_bip86.py",
        "signer/test_card_time.py",
        "signer/test_man_in_the_middle.py",
        "signer/test_memory.py",
        "signer/test_musig.py",
        "signer/test_musig_attacks.py",
        "signer/test_prompts.py",
        "signer/test_signing.py",
        "signer/test_softhsm.py",
        "signer/test_taproot.py",
        "storage/test_signature_log.py",
        "system/frozen/test_places.py",
    }
)
"""In those folders, too: they take long, or measure time."""
ONE_IN = {
    "core/test_derivation.py::test_no_strategy_for_an_unknown_card_has_14_and_15_commands": 3,
    "core/test_faults.py::test_every_fault_at_every_apdu": 2,
    "core/test_generous_card.py::test_extra_bytes_behind_every_answer": 3,
    "core/test_generous_card.py::test_select_answers_of_any_length": 12,
    "core/test_hostile_card.py::test_any_plaintext_from_a_card_that_holds_the_keys": 12,
    "core/test_library.py::test_wrong_values": 3,
    "core/test_pcsc.py::test_faults_through_the_reader": 4,
    "ctl/test_changes.py::test_a_card_that_does_not_come_back": 9,
    "ctl/test_changes.py::test_a_lost_answer_is_found_out": 9,
    "ctl/test_dual.py::test_a_fault_at_the_second_half_is_gone_on_from": 3,
    "ctl/test_export.py::test_programs_by_name": 3,
    "ctl/test_hostile.py::test_closed_and_full_streams": 3,
    "ctl/test_man_in_the_middle.py::test_reading_and_signing": 12,
    "ctl/test_pin_auth.py::test_a_fault_while_the_pin_is_tried": 8,
    "ctl/test_screens.py::test_the_screen": 18,
    "ctl/test_secrets.py::test_another_card_of_a_known_serial_gets_no_secret": 3,
    "ctl/test_secrets.py::test_changes_on_cards_of_other_readings": 3,
    "ctl/test_setup.py::test_what_is_not_known_is_told_so_and_setup_or_adopt_goes_on": 2,
    "ctl/test_setup_faults.py::test_what_is_told_is_true": 6,
    "ctl/test_two_cards.py::test_the_card_that_was_named": 3,
    "ctl/test_two_cards.py::test_what_the_configuration_does_not_admit": 3,
    "electrum/test_commands.py::test_a_message_is_signed_as_it_is": 3,
    "electrum/test_commands.py::test_a_no_signs_nothing": 3,
    "electrum/test_commands.py::test_an_answer_of_an_unknown_form": 3,
    "electrum/test_commands.py::test_lines_out_of_their_order": 3,
    "emulator/test_program.py::test_usage_errors": 9,
    "emulator/test_sdk.py::test_basic_card": 12,
    "pin/test_approval_faults.py::test_the_card_comes_back": 2,
    "pin/test_approval_faults.py::test_the_card_stays_away": 3,
    "pin/test_approval_faults.py::test_the_token_fails": 3,
    "pin/test_approval_faults.py::test_the_token_fails_while_it_is_set_up": 4,
    "pin/test_pin_accounting.py::test_a_wrong_automatic_pin_costs_one_try_in_all": 3,
    "pin/test_pin_accounting.py::test_every_command": 4,
    "pin/test_pin_accounting.py::test_killed_while_the_card_answers": 3,
    "pin/test_pin_accounting.py::test_whoever_listens_gets_no_pin": 4,
    "plugin/test_embedding.py::test_every_entry_is_a_device_or_an_error": 2,
    "psbt/test_many_keys.py::test_time_is_proportional_to_the_number_of_keys": 2,
    "psbt/test_musig_attacks.py::test_whatever_is_changed": 3,
    "psbt/test_outcomes_on_card.py::test_what_is_signed_is_shown_as_it_is": 2,
    "psbt/test_registered.py::test_the_catalogue": 4,
    "psbt/test_runs.py::test_a_bitcoin_of_fee_is_never_signed": 15,
    "psbt/test_runs.py::test_a_fee_within_the_limits_is_signed_as_what_it_is": 5,
    "psbt/test_runs.py::test_leave_for_unproved_amounts_shows_no_number_that_is_not_so": 3,
    "psbt/test_runs.py::test_other_sighash_types_prove_nothing_more": 9,
    "signer/test_bip86.py::test_a_card_that_goes_away": 3,
    "signer/test_card_time.py::test_a_second_card": 2,
    "signer/test_card_time.py::test_the_page_says_what_a_command_costs": 3,
    "signer/test_man_in_the_middle.py::test_reading_and_signing": 12,
    "signer/test_memory.py::test_by_every_command": 3,
    "signer/test_memory.py::test_in_a_later_run": 3,
    "signer/test_memory.py::test_in_one_run": 3,
    "signer/test_memory.py::test_signed_on_another_computer": 3,
    "signer/test_musig.py::test_a_fault_at_every_apdu": 4,
    "signer/test_musig_attacks.py::test_a_fault_at_every_apdu": 4,
    "signer/test_signing.py::test_a_fault_is_survived": 3,
    "signer/test_taproot.py::test_a_fault_teaches_nothing": 3,
    "specter/test_script.py::test_a_list_of_a_bridge": 3,
    "specter/test_script.py::test_what_a_bridge_says_is_text": 3,
    "specter/test_stand_in.py::test_payment": 3,
    "storage/test_signature_log.py::test_a_damaged_index_is_made_anew": 3,
    "system/interop/test_bdk_wallets.py::test_two_cards_cosign": 2,
    "system/interop/test_client_pcsc.py::test_a_program_that_never_lets_go_hangs_nobody": 4,
    "system/interop/test_client_pcsc.py::test_a_program_that_only_shares_the_reader_is_no_obstacle": 3,
    "system/interop/test_core.py::test_what_goes_wrong": 2,
    "system/interop/test_docs.py::test_at_the_terminal": 18,
    "system/interop/test_docs.py::test_console_blocks": 6,
    "system/interop/test_sdk_pcsc.py::test_every_operation_on_a_basic_card": 12,
    "system/life/test_attacks.py::test_a_clock_that_is_wrong": 3,
    "system/life/test_attacks.py::test_another_card_is_put_in_after_the_answer_was_lost": 12,
    "system/life/test_attacks.py::test_the_program_is_told_to_end": 3,
    "system/life/test_attacks.py::test_two_cards_whose_program_was_killed": 2,
    "system/life/test_cards.py::test_wipe_erases_the_card_that_is_named": 3,
    "system/life/test_life.py::test_the_command_that_changes_the_card_loses_its_answer": 27,
    "system/life/test_noise.py::test_a_disturbed_answer_before_the_channel_is_open_ends_nothing": 12,
    "system/life/test_noise.py::test_what_was_done_is_told_although_the_card_refused_it": 18,
    "system/life/test_paper.py::test_words_that_are_restored": 4,
    "system/life/test_people.py::test_a_card_back_on_the_common_key_is_opened": 3,
    "system/life/test_people.py::test_a_wrong_puk_changes_nothing": 3,
    "system/life/test_people.py::test_without_a_terminal_nothing_is_changed": 3,
    "system/life/test_people.py::test_words_that_are_pasted_restore_the_wallet_on_the_paper": 3,
    "system/security/test_consent.py::test_a_replayed_approval_gives_its_own_digest_alone": 6,
    "system/security/test_examples.py::test_without_arguments_it_explains_itself": 3,
    "system/security/test_network.py::test_only_the_card_that_was_named": 3,
    "system/security/test_objects.py::test_no_fault_tells_a_secret": 3,
    "system/torture/test_kept.py::test_what_failed_once": 3,
}
"""Of the many cases of these tests one in so many is in the default selection. The others are long tests."""
_STARTS_PYTHON = frozenset({"test_architecture.py"})
"""Quick all the same: what a fresh interpreter loads is what it looks at."""
_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"})
_running = ""
"""The quick file of which a test runs."""

_deselected: Counter[str] = Counter()


def is_quick(path: Path, system: str = "") -> bool:
    """Whether a test file belongs to the inner loop on a system (`sys.platform`); without one, on all of them."""
    name = path.relative_to(_TESTS).as_posix() if path.is_relative_to(_TESTS) else ""
    linux = system == "linux"
    places = QUICK + QUICK_ON_LINUX if linux else QUICK
    chosen = any(name == place or name.startswith(f"{place}/") for place in places)
    return chosen and name not in LONG and (linux or name not in FORKING)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _running and event in _STARTS:
        raise RuntimeError(f"tests/{_running} is one of the quick tests, which start no process (tests/conftest.py)")


sys.addaudithook(_watch)

# The size of the tests' own terminal, which workers hand on: programs have terminals of their own.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the long tests (marked `heavy`) as well")
    parser.addoption("--every-case", action="store_true", help="of the chosen tests run every case (see ONE_IN)")
    parser.addoption("--quick", action="store_true", help="run only the tests that take no time")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick` other files are not even loaded."""
    if config.getoption("--quick") and collection_path.name.startswith("test_") and collection_path.is_file():
        return not is_quick(collection_path, sys.platform) or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """What a test does is noted against its file, its fixtures included; the last one ends the session, too."""
    global _running
    name = item.path.relative_to(_TESTS).as_posix() if is_quick(item.path) else ""
    _running = "" if name in _STARTS_PYTHON or nextitem is None else name
    try:
        return (yield)
    finally:
        _running = ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen, left_out = [], []
    cases: Counter[str] = Counter()
    for item in items:
        test = f"{item.path.relative_to(_TESTS).as_posix()}::{getattr(item, 'originalname', item.name)}"
        if not item.get_closest_marker("heavy"):
            if cases[test] % ONE_IN.get(test, 1) and not config.getoption("--every-case"):
                item.add_marker(pytest.mark.heavy)
            cases[test] += 1
        if item.get_closest_marker("heavy") and not config.getoption("--all"):
            _deselected[str(item.path.relative_to(config.rootpath))] += 1
            left_out.append(item)
        elif item.get_closest_marker("pcsc") and config.getoption("--quick"):
            left_out.append(item)
        else:
            chosen.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
    # What may take long begins first, so that no worker waits for another at the end.
    items.sort(key=lambda item: not _may_take_long(item, config))


@pytest.hookimpl(wrapper=True)
def pytest_collection_finish(session: pytest.Session) -> Iterator[None]:
    """Tests of a group are one worker's. pytest-xdist 3.8 writes the group where pytest 9.2 does not look for it any
    more: they would be spread over all workers, and each would wait for the readers. So the workers tell their tests
    with it."""
    grouped = [item for item in session.items if vars(item).get("_nodeid", item.nodeid) != item.nodeid]
    ids = [item.id for item in grouped]  # type: ignore[attr-defined]
    for item in grouped:
        item._id = type(item.id).parse(vars(item)["_nodeid"])  # type: ignore[attr-defined]
    try:
        return (yield)
    finally:
        for item, own in zip(grouped, ids, strict=True):
            item._id = own  # type: ignore[attr-defined]


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
        lines.append("the tests that need a reader or take long (run without --quick)")
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
