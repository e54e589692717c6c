"""Settings of one process: environment, then the configuration file `config.toml` (keys in `Settings`)."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cryptnox_core.certificate import Genuineness, TrustAnchors
from cryptnox_core.errors import UsageError
from cryptnox_core.wire import DEFAULT_EMULATOR_HOST, DEFAULT_EMULATOR_PORT
from hwilib_cryptnox.errors import BadRequestError, RefusedCardError
from hwilib_cryptnox.storage.files import NoHomeError, SharedFileError, config_folder, read_given, read_own

if TYPE_CHECKING:
    from cryptnox_core.card import Card

EMULATOR_PREFIX = "tcp:"
"""How the path of a card over TCP begins: `tcp:HOST:PORT`. Whoever listens there is taken for an emulated card."""
PIN_SOURCES = ("pinentry", "gpg-agent")
CONFIRMATIONS = ("pinentry",)
ENUMERATE_WAIT = 1.0
"""Seconds `enumerate` waits for a busy card, unless CRYPTNOX_WAIT says otherwise."""
FeeLimit = float | Literal["off"] | None
_WAITS = {"wait": "CRYPTNOX_WAIT", "enumerate_wait": "CRYPTNOX_WAIT", "reinsert_wait": "CRYPTNOX_REINSERT_WAIT"}
_SWITCHES = ("last_try", "signer_mode", "rawtr", "allow_sighash", "allow_unproved_amounts")
_FEE_LIMITS = ("max_fee", "max_fee_rate", "max_fee_percent")
APPROVE_PREFIX = "pkcs11:"
"""How the only kind of approving key is named that there is."""
_MOST = 64 * 1024
"""Bytes of the configuration file; one with every key has some hundred."""
_MOST_ANCHORS = 1024 * 1024
"""Bytes of a file of trust anchors: hundreds of certificates."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class SettingsError(BadRequestError):
    """A setting has no meaning. Names the variable or key."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose."""

    emulator: tuple[str, int] = (DEFAULT_EMULATOR_HOST, DEFAULT_EMULATOR_PORT)
    """CRYPTNOX_EMULATOR=HOST:PORT."""
    wait: float = 5.0
    """CRYPTNOX_WAIT: seconds a busy card is waited for."""
    enumerate_wait: float = ENUMERATE_WAIT
    reinsert_wait: float = 30.0
    """CRYPTNOX_REINSERT_WAIT: seconds a card that left during a signing may take to come back."""
    last_try: bool = False
    """CRYPTNOX_LAST_TRY: a PIN may be sent when one try is left."""
    signer_mode: bool = False
    """CRYPTNOX_SIGNER_MODE."""
    rawtr: bool = False
    """CRYPTNOX_RAWTR: descriptors of untweaked taproot outputs."""
    allow_sighash: bool = False
    """CRYPTNOX_ALLOW_SIGHASH: sighash types other than ALL and DEFAULT are signed."""
    allow_unproved_amounts: bool = False
    """CRYPTNOX_ALLOW_UNPROVED_AMOUNTS: segwit v0 inputs without their previous transaction are signed."""
    pin_source: str = ""
    """CRYPTNOX_PIN_SOURCE, or key `pin_source`: `pinentry`, `gpg-agent`, or empty for neither."""
    pinentry: str = "pinentry"
    """Key `pinentry`: the program."""
    confirm: str = ""
    """Key `confirm`: `pinentry` shows what is to be signed in a dialogue, wherever the PIN comes from; empty: only the
    dialogue that asked for the PIN does."""
    approve: str = ""
    """CRYPTNOX_APPROVE, or key `approve`: the key that approves each signature of a card whose PIN authentication is
    off, as an RFC 7512 URI (`pkcs11:...`); empty for none."""
    approve_by_environment: bool = False
    """`approve` is of the environment, so it is meant for this command."""
    approve_wait: float = 60.0
    """CRYPTNOX_APPROVE_WAIT, or key `approve_wait`: seconds a person may take for one touch."""
    approve_lists: bool = False
    """Key `approve_lists`: one touch approves up to four digests, where the card takes lists. No known program uses
    them."""
    require_genuine: bool = False
    """Key `require_genuine`: no card is used that no trust anchor vouches for, and none over TCP."""
    anchors: tuple[str, ...] = ()
    """Key `anchors`: PEM files of further trust anchors."""
    max_fee_rate: FeeLimit = None
    """CRYPTNOX_MAX_FEE_RATE, or key `max_fee_rate`: satoshi a virtual byte above which a transaction is refused. None:
    the default limit; "off": no limit."""
    max_fee: FeeLimit = None
    """CRYPTNOX_MAX_FEE, or key `max_fee`: satoshi."""
    max_fee_percent: FeeLimit = None
    """CRYPTNOX_MAX_FEE_PERCENT, or key `max_fee_percent`: percent of what the card's inputs hold."""
    trust_emulated: tuple[tuple[str, int], ...] = ()
    """Key `trust_emulated`: addresses (`HOST:PORT`) of emulated cards that get the PIN of any source, for tests."""
    leave_readers: tuple[str, ...] = ()
    """Key `leave_readers`: parts of the names of readers that are left alone, for cards that other programs use."""
    require_registered: bool = False
    """Key `require_registered`; CRYPTNOX_REQUIRE_REGISTERED=1 switches it on, too: inputs that several keys hold are
    signed only where a registered wallet derives them."""
    audit: bool = True
    """Key `audit`: remember hash and transaction of each signature."""
    chain: str = ""
    """CRYPTNOX_CHAIN, or key `chain`: the network that `cryptnoxctl` means where `--chain` is not given. Empty: not
    said, which is the main network. Its name is checked where it is used."""

    @property
    def emulator_path(self) -> str:
        """Where the emulated card is: `tcp:HOST:PORT`."""
        host, port = self.emulator
        return f"{EMULATOR_PREFIX}{f'[{host}]' if ':' in host else host}:{port}"

    def trusts(self, path: str) -> bool:
        """Whether the configuration names the emulated card at a path `tcp:HOST:PORT`."""
        if not self.trust_emulated:
            return False
        from cryptnox_core.transport.tcp import parse_address

        return parse_address(path.removeprefix(EMULATOR_PREFIX)) in self.trust_emulated

    def leaves(self, reader: str) -> bool:
        """Whether a PC/SC reader is to be left alone."""
        return any(part.lower() in reader.lower() for part in self.leave_readers)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
        """From the environment and the configuration file; SettingsError names what is wrong."""
        env = os.environ if environment is None else environment
        settings = _from_file(_file() if file is None else file)
        changes: dict[str, Any] = {}
        if text := env.get("CRYPTNOX_EMULATOR", ""):
            changes["emulator"] = _address(text, "CRYPTNOX_EMULATOR")
        for name, variable in _WAITS.items():
            changes[name] = _seconds(env, variable, getattr(settings, name))
        for name in _SWITCHES:
            changes[name] = _switch(env, f"CRYPTNOX_{name.upper()}")
        if _switch(env, "CRYPTNOX_REQUIRE_REGISTERED"):
            changes["require_registered"] = True
        for name in _FEE_LIMITS:
            changes[name] = _fee_limit(env, name, getattr(settings, name))
        changes["chain"] = env.get("CRYPTNOX_CHAIN", "").strip() or settings.chain
        if text := env.get("CRYPTNOX_APPROVE", "").strip():
            changes |= {"approve": _approve(text, "CRYPTNOX_APPROVE"), "approve_by_environment": True}
        changes["approve_wait"] = _touch(
            _seconds(env, "CRYPTNOX_APPROVE_WAIT", settings.approve_wait), "CRYPTNOX_APPROVE_WAIT"
        )
        source = _pin_source(env.get("CRYPTNOX_PIN_SOURCE", settings.pin_source), "CRYPTNOX_PIN_SOURCE")
        return replace(settings, pin_source=source, **changes)


def check_genuine(card: Card, settings: Settings) -> None:
    """RefusedCardError for a card that the configuration does not admit. The certificate must have been read."""
    if not settings.require_genuine:
        return
    if card.transport.name.startswith(EMULATOR_PREFIX):
        verdict = "an emulated card is not genuine"
    elif card.genuineness is Genuineness.NOT_GENUINE:
        verdict = "the card is not genuine"
    elif card.genuineness is Genuineness.UNKNOWN:
        verdict = "it is not known whether the card is genuine"
    else:
        return
    raise RefusedCardError(f"{verdict}, but the configuration requires a genuine one")


def read_anchors(name: str) -> TrustAnchors:
    """The trust anchors of a file that the key `anchors` names; SettingsError where there are none."""
    try:
        return TrustAnchors.from_pem(read_given(Path(name).expanduser(), _MOST_ANCHORS))
    except OSError as error:
        raise SettingsError(f"anchors: {name}: {error.strerror}") from error
    except UsageError as error:
        raise SettingsError(f"anchors: {name}: {error}") from error
    except (ValueError, RuntimeError) as error:  # a byte of 0 in it, or the home of a user who is none
        raise SettingsError(f"anchors: {name!r} does not name a file") from error


def _address(text: str, where: str) -> tuple[str, int]:
    from cryptnox_core.transport.tcp import parse_address

    try:
        return parse_address(text.strip())
    except UsageError as error:
        raise SettingsError(f"{where}: {error}") from error


def _approve(text: str, where: str) -> str:
    if text and not text.startswith(APPROVE_PREFIX):
        raise SettingsError(f"{where}: give the URI of a token's key: {APPROVE_PREFIX}token=LABEL;object=LABEL")
    return text


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise SettingsError(f"{name}: give seconds between 0 and 3600")
    return seconds


def _touch(seconds: float, where: str) -> float:
    """Nobody touches a key in no time."""
    if not 1 <= seconds <= 3600:
        raise SettingsError(f"{where}: give seconds between 1 and 3600")
    return seconds


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower()
    if text not in _TRUE + _FALSE:
        raise SettingsError(f"{name}: give 1 or 0")
    return text in _TRUE


def _fee_limit(env: Mapping[str, str], name: str, default: FeeLimit) -> FeeLimit:
    variable = f"CRYPTNOX_{name.upper()}"
    text = env.get(variable, "").strip().lower()
    if not text:
        return default
    if text == "off":
        return "off"
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < math.inf:  # no fee would exceed nan or inf
        raise SettingsError(f"{variable}: give a number of 0 or more, or off")
    return limit


def _pin_source(name: str, where: str) -> str:
    if name and name not in PIN_SOURCES:
        raise SettingsError(f"{where}: give {' or '.join(PIN_SOURCES)}")
    return name


def _file() -> Path:
    try:
        return config_folder() / "config.toml"
    except NoHomeError as error:
        raise SettingsError(f"{error.strerror}") from error


def _from_file(path: Path) -> Settings:
    try:
        text = read_own(path, _MOST).decode("utf-8")
    except FileNotFoundError:
        return Settings()
    except SharedFileError as error:  # it names programs and modules that are run, and limits that protect
        raise SettingsError(
            f"{path}: other users can change this file or its folder, so it is not used. Make both yours alone: chmod "
            "go-w, chown"
        ) from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: cannot be read: it is not text (UTF-8)") from error
    return from_toml(text, str(path))


def _is_fee_limit(value: object) -> bool:
    """A number that a fee can exceed, so neither nan nor inf, or the word for none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value == "off"
    return 0 <= value < math.inf


def from_toml(text: str, where: str) -> Settings:
    """The settings a configuration file may hold; unknown keys are refused: a mistyped limit must not be no limit."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{where}: it is nested too deeply") from error
    except ValueError as error:  # Python reads no number of thousands of digits
        raise SettingsError(f"{where}: a number in it has too many digits") from error
    kinds: dict[str, tuple[type, ...]] = {
        "pin_source": (str,),
        "pinentry": (str,),
        "confirm": (str,),
        "approve": (str,),
        "approve_wait": (int, float),
        "approve_lists": (bool,),
        "require_genuine": (bool,),
        "anchors": (list,),
        **dict.fromkeys(_FEE_LIMITS, (int, float, str)),
        "trust_emulated": (list,),
        "leave_readers": (list,),
        "require_registered": (bool,),
        "audit": (bool,),
        "chain": (str,),
    }
    for key, value in table.items():
        wanted = kinds.get(key)
        if wanted is None:
            raise SettingsError(f"{where}: {key} is not a setting")
        if key in _FEE_LIMITS and not _is_fee_limit(value):
            raise SettingsError(f'{where}: {key}: give a number of 0 or more, or "off"')
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise SettingsError(f"{where}: {key} has the wrong type")
    anchors, trusted = table.pop("anchors", []), table.pop("trust_emulated", [])
    left = table.pop("leave_readers", [])
    if not all(isinstance(name, str) and name.strip() for name in left):
        raise SettingsError(f"{where}: leave_readers is a list of names of readers, or parts of them")
    if not all(isinstance(name, str) for name in anchors):
        raise SettingsError(f"{where}: anchors is a list of file names")
    if not all(isinstance(address, str) for address in trusted):
        raise SettingsError(f"{where}: trust_emulated is a list of HOST:PORT")
    addresses = tuple(_address(address, f"{where}: trust_emulated") for address in trusted)
    settings = Settings(**table, anchors=tuple(anchors), trust_emulated=addresses, leave_readers=tuple(left))
    _approve(settings.approve, f"{where}: approve")
    _touch(settings.approve_wait, f"{where}: approve_wait")
    _pin_source(settings.pin_source, f"{where}: pin_source")
    if settings.confirm not in ("", *CONFIRMATIONS):
        raise SettingsError(f"{where}: confirm: give {' or '.join(CONFIRMATIONS)}")
    return settings
