"""Settings from the environment and the configuration file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cryptnox_core.emulator.ca import ca_certificate_pem
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.storage.settings import Settings, SettingsError, from_toml, read_anchors


def to_group(place: Path, group: int) -> None:
    """Only root gives files to any group."""
    try:
        os.chown(place, -1, group)
    except PermissionError:
        pytest.skip("only root can give a file to another group")


def test_defaults(tmp_path: Path) -> None:
    assert Settings.load({}, tmp_path / "none.toml") == Settings()
    assert (Settings().wait, Settings().enumerate_wait, Settings().reinsert_wait) == (5, 1, 30)
    assert Settings().emulator == ("127.0.0.1", 9720)


def test_environment(tmp_path: Path) -> None:
    env = {
        "CRYPTNOX_EMULATOR": "[::1]:77",
        "CRYPTNOX_WAIT": "2.5",
        "CRYPTNOX_REINSERT_WAIT": "0",
        "CRYPTNOX_LAST_TRY": "1",
        "CRYPTNOX_SIGNER_MODE": "yes",
        "CRYPTNOX_RAWTR": "TRUE",
        "CRYPTNOX_ALLOW_SIGHASH": "0",
        "CRYPTNOX_ALLOW_UNPROVED_AMOUNTS": "on",
        "CRYPTNOX_PIN_SOURCE": "pinentry",
    }
    settings = Settings.load(env, tmp_path / "none.toml")
    assert settings.emulator == ("::1", 77) and settings.wait == settings.enumerate_wait == 2.5
    assert settings.reinsert_wait == 0 and settings.last_try and settings.signer_mode and settings.rawtr
    assert not settings.allow_sighash and settings.allow_unproved_amounts and settings.pin_source == "pinentry"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRYPTNOX_EMULATOR", "nowhere"),
        ("CRYPTNOX_EMULATOR", "host:99999"),
        ("CRYPTNOX_WAIT", "soon"),
        ("CRYPTNOX_WAIT", "-1"),
        ("CRYPTNOX_WAIT", "nan"),
        ("CRYPTNOX_REINSERT_WAIT", "inf"),
        ("CRYPTNOX_LAST_TRY", "perhaps"),
        ("CRYPTNOX_PIN_SOURCE", "telepathy"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.load({name: value}, tmp_path / "none.toml")
    assert to_hwi_error(caught.value).code is Code.BAD_ARGUMENT


def test_emulated_cards_that_are_trusted() -> None:
    """By their address, as it is named in a device path."""
    settings = from_toml('trust_emulated = ["127.0.0.1:9720", "[::1]:77"]', "config.toml")
    assert settings.trust_emulated == (("127.0.0.1", 9720), ("::1", 77))
    for path in ("tcp:127.0.0.1:9720", "tcp:[::1]:77", "tcp:::1:77"):
        assert settings.trusts(path)
    for path in ("tcp:127.0.0.1:9721", "tcp:127.0.0.2:9720", "tcp:localhost:9720", "tcp:[::1]:9720"):
        assert not settings.trusts(path)
    assert not Settings().trusts("tcp:127.0.0.1:9720")


def test_the_network() -> None:
    """The environment goes before the file; whether the name is one is for the commands to say, which need it."""
    assert Settings().chain == "" and from_toml('chain = "test"', "config.toml").chain == "test"
    assert Settings.load({"CRYPTNOX_CHAIN": " signet "}, Path("none.toml")).chain == "signet"


def test_file() -> None:
    text = 'pin_source = "gpg-agent"\nrequire_genuine = true\nanchors = ["a.pem"]\n'
    text += "max_fee_rate = 50\nmax_fee = 9\naudit = false\n"
    settings = from_toml(text, "config.toml")
    assert settings.pin_source == "gpg-agent" and settings.require_genuine and settings.anchors == ("a.pem",)
    assert (settings.max_fee_rate, settings.max_fee, settings.audit) == (50, 9, False)
    assert settings.confirm == "" and from_toml('confirm = "pinentry"', "config.toml").confirm == "pinentry"


@pytest.mark.parametrize(
    "text",
    [
        "max_fe = 3",
        "max_fee = true",
        'max_fee = "9"',
        "max_fee = false",
        "anchors = [1]",
        "trust_emulated = true",
        "trust_emulated = [9720]",
        'trust_emulated = "127.0.0.1:9720"',
        'trust_emulated = ["127.0.0.1"]',
        'trust_emulated = ["127.0.0.1:99999"]',
        'pin_source = "other"',
        'confirm = "yes"',
        "confirm = true",
        "not toml",
        "audit = 1",
        "chain = 1",
        "chain = true",
    ],
)
def test_a_mistake_in_the_file_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml"):
        from_toml(text, "config.toml")


@pytest.mark.parametrize("key", ["max_fee", "max_fee_rate", "max_fee_percent"])
@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "-1", "-0.5"])
def test_a_limit_that_limits_nothing_is_refused(key: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_toml(f"{key} = {value}", "config.toml")
    assert str(caught.value) == f'config.toml: {key}: give a number of 0 or more, or "off"'
    with pytest.raises(SettingsError, match=f"CRYPTNOX_{key.upper()}: give a number of 0 or more, or off"):
        Settings.load({f"CRYPTNOX_{key.upper()}": value}, Path("none.toml"))


@pytest.mark.parametrize("key", ["max_fee", "max_fee_rate", "max_fee_percent"])
def test_a_limit_in_the_environment_goes_before_the_file(key: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"{key} = 7")
    variable = f"CRYPTNOX_{key.upper()}"
    assert getattr(Settings.load({}, file), key) == 7
    assert getattr(Settings.load({variable: "2.5"}, file), key) == 2.5
    assert getattr(Settings.load({variable: "Off"}, file), key) == "off"
    file.write_text(f'{key} = "off"')
    assert getattr(Settings.load({}, file), key) == "off"
    assert getattr(Settings.load({}, tmp_path / "none.toml"), key) is None


def test_readers_that_are_left_alone() -> None:
    settings = from_toml('leave_readers = ["acs acr39u", "Other"]', "config.toml")
    assert settings.leaves("ACS ACR39U ICC Reader 00 00") and settings.leaves("another one")
    assert not settings.leaves("Virtual PCD 00 00") and not Settings().leaves("Virtual PCD 00 00")
    for text in ('leave_readers = [""]', "leave_readers = [1]", 'leave_readers = "ACS"'):
        with pytest.raises(SettingsError, match="leave_readers"):
            from_toml(text, "config.toml")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
@pytest.mark.parametrize(
    ("of_file", "of_folder", "used"),
    [
        (0o600, 0o700, True),
        (0o644, 0o755, True),
        (0o646, 0o755, False),
        (0o644, 0o757, False),
        (0o644, 0o1777, True),
        (0o664, 0o755, False),
        (0o644, 0o775, False),
    ],
)
def test_a_file_that_others_can_change_is_not_used(tmp_path: Path, of_file: int, of_folder: int, used: bool) -> None:
    """It names programs and modules that are run with all rights of this one, and the limits of what is signed."""
    folder = tmp_path / "config"
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text('approve = "pkcs11:token=x?module-path=/tmp/evil.so"\n')
    for place, mode in ((file, of_file), (folder, of_folder)):
        if mode & 0o020:
            to_group(place, 65534)  # nobody's own
        place.chmod(mode)
    if used:
        assert Settings.load({}, file).approve.startswith("pkcs11:token=x")
        return
    with pytest.raises(SettingsError, match="other users can change this file"):
        Settings.load({}, file)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    with pytest.raises(SettingsError, match="other users can change this file"):
        Settings.load({}, link)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_what_others_can_change_is_not_even_read(tmp_path: Path) -> None:
    """It is judged first: nothing of its content is told, or waited for."""
    file = tmp_path / "config.toml"
    for content in (b"\xff", b"#" * 70_000, b"not toml"):
        file.write_bytes(content)
        file.chmod(0o646)
        with pytest.raises(SettingsError, match="other users can change this file"):
            Settings.load({}, file)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
@pytest.mark.parametrize("way", ["file", "folder"])
def test_the_file_that_is_read_is_the_one_that_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A link that leads to a file of others while it is opened, and to one's own when it is looked at."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    for folder in (theirs, mine):
        folder.mkdir(mode=0o755)
        (folder / "config.toml").write_text("audit = false\n" if folder is theirs else "")
    (theirs / "config.toml" if way == "file" else theirs).chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(theirs)
    opened = os.open

    def swap(*arguments: Any, **more: Any) -> int:
        descriptor = opened(*arguments, **more)
        link.unlink()
        link.symlink_to(mine)
        return descriptor

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(SettingsError, match="other users can change this file"):
        Settings.load({}, link / "config.toml")
    monkeypatch.undo()
    assert Settings.load({}, link / "config.toml").audit is True


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files on Windows")
def test_what_is_no_file_hangs_nobody(tmp_path: Path) -> None:
    """A named pipe that nobody writes to; a device without an end; a folder."""
    file = tmp_path / "config.toml"
    os.mkfifo(file, 0o600)
    link = tmp_path / "link.toml"
    link.symlink_to("/dev/zero")
    for place in (file, link, tmp_path):
        with pytest.raises(SettingsError, match="cannot be read: not a regular file"):
            Settings.load({}, place)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load({}, loop)


def test_a_file_has_an_end(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"#" * 65_535 + b"\n")
    assert Settings.load({}, file) == Settings()
    file.write_bytes(b"#" * 65_536 + b"\n")
    with pytest.raises(SettingsError, match="cannot be read: larger than 64 KiB"):
        Settings.load({}, file)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read: it is not text"):
        Settings.load({}, file)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_ones_own_file_is_followed(tmp_path: Path) -> None:
    """As people keep their configurations in one place."""
    kept, link = tmp_path / "kept", tmp_path / "config.toml"
    kept.write_bytes(b"audit = false\r\n")
    kept.chmod(0o644)
    link.symlink_to(kept)
    assert Settings.load({}, link).audit is False
    kept.unlink()
    assert Settings.load({}, link) == Settings()


def test_anchors_that_are_none(tmp_path: Path) -> None:
    """What names no file, or one that is none or too large, is told with the key and the name."""
    pem = tmp_path / "ca.pem"
    pem.write_text(ca_certificate_pem())
    assert len(read_anchors(str(pem)).anchors) == 1
    large = tmp_path / "large.pem"
    large.write_bytes(b"\n" * (1 << 20) + pem.read_bytes())
    wrong = {
        "a\0b": "'a\\x00b' does not name a file",
        str(tmp_path / "none.pem"): "none.pem: No such file or directory",
        str(large): "large.pem: larger than 1024 KiB",
    }
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        wrong |= {"~nobody-at-all/ca.pem": "'~nobody-at-all/ca.pem' does not name a file"}
        wrong |= {str(tmp_path / "pipe"): "pipe: not a regular file", "/dev/zero": "/dev/zero: not a regular file"}
    for name, text in wrong.items():
        with pytest.raises(SettingsError) as caught:
            read_anchors(name)
        assert str(caught.value).startswith("anchors: ") and str(caught.value).endswith(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = " + "[" * 60_000, "it is nested too deeply"),
        ("x = " + "{a=" * 20_000, "it is nested too deeply"),
        ("max_fee = " + "9" * 5_000, "a number in it has too many digits"),
    ],
)
def test_what_python_cannot_read_is_told_as_such(text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_toml(text, "config.toml")
    assert str(caught.value) == f"config.toml: {reason}"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_group_that_is_the_users_alone_is_no_other_user(tmp_path: Path) -> None:
    """Debian's users have one each, and a umask that lets it write."""
    file = tmp_path / "config.toml"
    file.write_text("audit = false\n")
    to_group(file, 0)
    file.chmod(0o664)
    assert Settings.load({}, file).audit is False
