"""Settings, memory, readers and PIN sources of one command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hwilib_cryptnox.signer.host import Host
from hwilib_cryptnox.storage.settings import Settings, SettingsError
from tests.support.emulator import PIN, EmulatorProcess


def test_each_part_is_made_once() -> None:
    host = Host(emulators=True, answer_limit=3)
    assert host.access is host.access and host.access.settings is host.settings and host.access.state is host.state
    assert host.access.emulators and host.access.answer_limit == 3


def test_what_is_remembered_can_be_had_without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that has no meaning keeps nobody from looking at the state."""
    monkeypatch.setenv("CRYPTNOX_WAIT", "soon")
    host = Host()
    assert host.state.records() == {}
    for part in (lambda: host.settings, lambda: host.access, host.unlocker):
        with pytest.raises(SettingsError, match="CRYPTNOX_WAIT"):
            part()
    assert Host(Settings()).access.settings == Settings()


def test_other_settings_keep_the_rest() -> None:
    host = Host(emulators=True, answer_limit=3)
    other = host.changed(replace(host.settings, rawtr=True))
    assert other.settings.rawtr and other.access.emulators and other.access.answer_limit == 3
    assert not host.settings.rawtr


def test_a_wallet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the PIN that was given, or that of a source that is set up."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with EmulatorProcess("--seed", "00" * 32, "--xpub-export") as card:
        for given, source in ((PIN, None), (None, PIN)):
            if source is not None:
                monkeypatch.setenv("CRYPTNOX_PIN", source)
            wallet = Host().wallet(card.path, given)
            try:
                assert len(wallet.fingerprint()) == 4
            finally:
                wallet.close()
        assert card.stats()["pin_tries"] == 0
