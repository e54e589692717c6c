"""A key in a PKCS#11 token (YubiKey, TPM, smart card, SoftHSM) as what approves signatures. On python-pkcs11.

Nothing is sent to a token but its PIN and what `sign` is given; `pin/approval` alone decides what that is.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.console.bundle import bundled
from hwilib_cryptnox.errors import (
    ApproverCanceledError,
    ApproverError,
    ApproverPinError,
    ApproverRefusedError,
    ApproverTimeoutError,
    NoApproverError,
)
from hwilib_cryptnox.pin import token_keys
from hwilib_cryptnox.pin.approver import ApprovingKey, TokenState
from hwilib_cryptnox.pin.token_calls import Calls, LateError
from hwilib_cryptnox.pin.token_keys import TokenKey, named, state_of
from hwilib_cryptnox.pin.token_modules import module_file
from hwilib_cryptnox.pin.token_pins import TokenPins
from hwilib_cryptnox.pin.token_uri import TokenUri
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State

T = TypeVar("T")

LIMIT = 60.0
"""Seconds for whatever waits for no person."""
DIALOGUE_LIMIT = 300.0
"""Seconds for a PIN that is typed at the token itself, and for making a key: a smart card takes minutes for RSA."""
_HUMAN = 5.0
"""Seconds after which a refusal is taken for one that a missing touch brought: YubiKeys give up after 15."""
_LEAVE_LIMIT = 5.0
MISSING_TEXT = "PKCS#11 support (python-pkcs11) is not installed"
_INSTALL = "install it where hwi-cryptnox is: pip install python-pkcs11 (the extra pkcs11)"
_NOT_IN_BINARY = "install hwi-cryptnox with pip, and its extra pkcs11: the one-file binary cannot load it"


@dataclass
class _Module:
    """A module of this process and who uses it: it is initialized once for all of them."""

    calls: Calls = field(default_factory=Calls)
    users: weakref.WeakSet[TokenApprover] = field(default_factory=weakref.WeakSet)
    library: Any = None


_modules: dict[str, _Module] = {}


class TokenApprover:
    """The key that a URI means. Implements `Approver`. `either`: the key as a person typed it, a label or a CKA_ID in
    hexadecimal. `pins` gets the token's own PIN."""

    def __init__(self, uri: TokenUri, pins: TokenPins, *, either: str = "") -> None:
        self._uri = uri
        self._pins = pins
        self._either = either
        self._file = ""
        self._module: _Module | None = None
        self._found: TokenKey | None = None
        self._session: Any = None
        self._half: Any = None
        self._pin: str | None = None
        self._always = False

    def __repr__(self) -> str:
        return "TokenApprover()"

    @property
    def name(self) -> str:
        if self._found is not None:
            return self._found.name
        uri = self._uri
        key = uri.object or self._either or (uri.id.hex() if uri.id else "")
        return named(uri.token or uri.serial or uri.model or "", key)

    @property
    def uri(self) -> TokenUri:
        """What names the key and nothing else. Requires: `key` or `make` before."""
        if self._found is None:
            raise NoApproverError("the key was not looked for")
        return self._found.uri(self._file)

    def key(self) -> ApprovingKey:
        if self._found is None:
            self._found = self._find()
        if self._found is None:  # its token shows keys to who has its PIN only
            self.ready()
        return self._known().key

    def ready(self) -> None:
        if self._session is not None and self._alive():
            return
        self._leave()
        try:
            self._open()
        except BaseException:
            self._leave()
            raise

    def sign(self, message: bytes, limit: float) -> bytes:
        self.ready()
        found, half, pin = self._known(), self._half, self._pin if self._always else None
        begin = time.monotonic()
        try:
            signature = self._run(lambda: token_keys.signed(half, found, message, pin), limit)
        except LateError as error:
            self._leave()
            raise ApproverTimeoutError(
                f"{self.name} was not touched within {limit:.0f} seconds", hint="CRYPTNOX_APPROVE_WAIT sets the time"
            ) from error
        except KeyboardInterrupt:
            self._leave()
            raise
        except Exception as error:
            raise self._failure(error, time.monotonic() - begin) from error
        if not token_keys.is_signature(found.key, message, signature):
            self._leave()
            raise ApproverRefusedError(f"what {self.name} signed is not a signature of its key; it was not used")
        return signature

    def close(self) -> None:
        self._leave()
        self._pin = None

    def make(self, slot: UserKeySlot, label: str) -> ApprovingKey:
        """A new key pair in the only token that the URI means: P-256, or RSA-2048 for the slot RSA. It never leaves the
        token. Raises as `ready`."""
        self._leave()
        token = self._only_token()
        session = self._login(token, writable=True)
        try:
            self._found = found = self._run(lambda: token_keys.make(session, token, slot, label), DIALOGUE_LIMIT)
        except (Exception, LateError) as error:
            raise ApproverRefusedError(
                f"the token {_label(token)} makes no such key ({_reason(error)})",
                hint="make it with the token's own tool, then run cryptnoxctl user-key add without --make",
            ) from error
        finally:
            self._close_session(session)
            self._leave()
        self._uri, self._either = found.uri(self._file), ""  # the token may hold others
        return found.key

    # The module

    def _library(self) -> Any:
        """The module, initialized. What is cached of slots is of this moment at the earliest."""
        if self._module is not None:
            return self._module.library
        self._file = module_file(self._uri.module_path, self._uri.module_name)
        try:
            import pkcs11
        except ImportError as error:
            raise NoApproverError(MISSING_TEXT, hint=_NOT_IN_BINARY if bundled() else _INSTALL) from error
        module, file = _modules.setdefault(self._file, _Module()), self._file
        try:
            if not module.users and module.library is not None and module.library.initialized:
                # Somebody did not close it, or a call that was given up left something open.
                with contextlib.suppress(pkcs11.PKCS11Error):
                    module.calls.run(module.library.finalize, LIMIT)
            module.library = module.calls.run(lambda: pkcs11.lib(file), LIMIT)
        except LateError as error:
            raise NoApproverError(f"the PKCS#11 module {file} does not answer") from error
        except Exception as error:
            raise NoApproverError(f"the PKCS#11 module {file} cannot be used ({_reason(error)})") from error
        module.users.add(self)
        self._module = module
        return module.library

    def _run(self, call: Callable[[], T], limit: float = LIMIT) -> T:
        """Make calls into the module. LateError, and what the module raises."""
        self._library()
        if self._module is None:
            raise NoApproverError("the PKCS#11 module is not loaded")
        return self._module.calls.run(call, limit)

    def _asked(self, call: Callable[[], T], limit: float = LIMIT) -> T:
        """As `_run`, where a failure means that the token is not there."""
        try:
            return self._run(call, limit)
        except LateError as error:
            raise NoApproverError(f"{self.name} does not answer") from error
        except (ApproverError, ApproverCanceledError):
            raise
        except Exception as error:
            raise NoApproverError(f"{self.name} is not there, or does not work ({_reason(error)})") from error

    def _leave(self) -> None:
        """Log out and leave the module. Never raises."""
        session, self._session, self._half = self._session, None, None
        if session is not None:
            self._close_session(session)
        module, self._module = self._module, None
        if module is None:
            return
        module.users.discard(self)
        # A call that was given up is still in there; what comes next waits for it.
        if not module.calls.busy and not module.users:
            with contextlib.suppress(Exception):
                module.calls.run(module.library.finalize, _LEAVE_LIMIT)

    def _close_session(self, session: Any) -> None:
        if self._module is not None and not self._module.calls.busy:
            with contextlib.suppress(Exception):
                self._module.calls.run(session.close, _LEAVE_LIMIT)

    # The key

    def _tokens(self) -> list[Any]:
        library = self._library()
        found = self._asked(lambda: token_keys.tokens(library, self._uri))
        if not found:
            there = self._asked(lambda: token_keys.tokens(library, TokenUri()))
            names = ", ".join(sorted(_label(token) for token in there)) or "none"
            raise NoApproverError(
                f"the token {self.name} is not there", hint=f"plug it in; tokens that are there: {names}"
            )
        return found

    def _only_token(self) -> Any:
        found = self._tokens()
        if len(found) > 1:
            raise _several("tokens", [_label(token) for token in found])
        return found[0]

    def _find(self) -> TokenKey | None:
        """The key as far as tokens show it without PIN; None where one token may hide it."""
        try:
            candidates, hidden = self._tokens(), []
            found: list[TokenKey] = []
            for token in candidates:
                chosen, shown = self._asked(lambda token=token: self._shown(token))  # type: ignore[misc]
                found += chosen
                if not shown:
                    hidden.append(token)
            key = self._chosen(found)
            if key is None and len(hidden) > 1:
                raise _several("tokens", [_label(token) for token in hidden])
            if key is None and not hidden:
                raise self._no_key()
            return key
        except BaseException:
            self._leave()
            raise

    def _shown(self, token: Any) -> tuple[list[TokenKey], int]:
        session = token.open()
        try:
            return token_keys.keys(session, token, self._uri, self._either)
        finally:
            session.close()

    def _chosen(self, found: list[TokenKey]) -> TokenKey | None:
        if len(found) > 1:
            raise _several("keys", [one.name for one in found])
        return found[0] if found else None

    def _no_key(self) -> NoApproverError:
        return NoApproverError(
            f"no key of P-256, or of RSA with 2048 bits, is in the token as {self.name}",
            hint="cryptnoxctl user-key add --pkcs11 ... --make makes one",
        )

    def _open(self) -> None:
        """Find the key, log in and find its private half."""
        key = self._find()
        token = self._only_token() if key is None else key.token
        session = self._session = self._login(token)
        if key is None:
            chosen, _ = self._asked(lambda: token_keys.keys(session, token, self._uri, self._either))
            key = self._chosen(chosen)
        if key is None:
            raise self._no_key()
        if self._found is not None and self._found.key != key.key:
            raise NoApproverError(f"{self.name} has a different key now: another token is in its place")
        self._found = found = key
        half = self._asked(lambda: token_keys.private_half(session, found))
        if half is None or not hasattr(half, "sign"):
            raise NoApproverError(f"{self.name}: the token does not show its private key, or it must not sign")
        self._half, self._always = half, self._asked(lambda: token_keys.always_authenticates(half))

    def _known(self) -> TokenKey:
        if self._found is None:
            raise self._no_key()
        return self._found

    def _alive(self) -> bool:
        """Whether the session is still one with the token."""
        half, slot = self._half, self._known().token.slot
        identity = state_of(self._known().token).identity

        def look() -> bool:
            from pkcs11 import Attribute

            return state_of(slot.get_token()).identity == identity and half[Attribute.CLASS] is not None

        try:
            return self._run(look)
        except Exception:  # noqa: BLE001 - whatever it is, the token is opened anew
            return False

    def _there(self) -> bool:
        """Whether the token can still be seen."""
        try:
            return (
                state_of(self._run(self._known().token.slot.get_token)).identity
                == state_of(self._known().token).identity
            )
        except Exception:  # noqa: BLE001 - it cannot
            return False

    # The token's PIN

    def _login(self, token: Any, *, writable: bool = False) -> Any:
        """A session in which the key can be used. Raises ApproverPinError, ApproverCanceledError, NoApproverError."""
        from pkcs11 import (
            PROTECTED_AUTH,
            PinIncorrect,
            PinLocked,
            TokenFlag,
            UserAlreadyLoggedIn,
            UserPinNotInitialized,
        )

        state = state_of(self._asked(token.slot.get_token))
        if not token.flags & TokenFlag.LOGIN_REQUIRED:
            return self._asked(lambda: token.open(rw=writable))
        if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
            raise ApproverPinError(f"the token {state.label} has no PIN yet", hint="set one with the token's own tool")
        own = bool(token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH)
        if own:
            self._pins.check(state)
            pin, given = None, PROTECTED_AUTH
        else:
            given = pin = self._pin_of(state)
        try:
            session = self._run(lambda: token.open(rw=writable, user_pin=given), DIALOGUE_LIMIT if own else LIMIT)
        except (PinIncorrect, PinLocked) as error:
            raise self._refused_pin(token, state, pin, locked=isinstance(error, PinLocked)) from error
        except UserAlreadyLoggedIn:  # by another approver of this process
            session = self._asked(lambda: token.open(rw=writable))
        except UserPinNotInitialized as error:
            raise ApproverPinError(f"the token {state.label} has no PIN yet") from error
        except LateError as error:
            raise ApproverTimeoutError(f"the token {state.label} does not answer") from error
        except Exception as error:
            raise self._failure(error, 0) from error
        if pin is not None:
            self._pins.accepted(state)
            self._pin = pin
        return session

    def _pin_of(self, state: TokenState) -> str:
        """The PIN that the token accepted a moment ago, or one that is got now."""
        if self._pin is not None and self._known_state == state.identity:
            self._pins.check(state)
            return self._pin
        pin = self._pins.get(state)
        self._known_state = state.identity
        return pin

    _known_state = ""

    def _refused_pin(self, token: Any, state: TokenState, pin: str | None, *, locked: bool) -> ApproverPinError:
        self._pin = None
        if pin is not None:
            self._pins.refused(state, pin)
        left: int | None = 0 if locked else None
        with contextlib.suppress(Exception):
            now = state_of(self._run(token.slot.get_token))
            left = 0 if now.locked or locked else 1 if now.last_try else None
        said = {0: "it is locked now", 1: "one try is left"}
        more = f"; {said[left]}" if left in said else ""
        return ApproverPinError(f"wrong PIN of the token {state.label}{more}", left, spent=True)

    # Its use

    def _failure(self, error: Exception, waited: float) -> Exception:
        """What a failed use of the token means; what was open is closed."""
        import pkcs11

        if isinstance(error, ApproverError | ApproverCanceledError):
            self._leave()
            return error
        name, token = self.name, self._known().token if self._found is not None else None
        if isinstance(error, pkcs11.PinIncorrect | pkcs11.PinLocked) and token is not None:
            state, locked = state_of(token), isinstance(error, pkcs11.PinLocked)
            refused = self._refused_pin(token, state, self._pin, locked=locked)
            self._leave()
            return refused
        there = token is None or self._there()
        self._leave()
        if isinstance(error, pkcs11.FunctionCancelled | pkcs11.FunctionRejected):
            return ApproverCanceledError(f"Canceled at {name}; it signed nothing")
        gone = (
            pkcs11.DeviceRemoved,
            pkcs11.TokenNotPresent,
            pkcs11.TokenNotRecognised,
            pkcs11.SlotIDInvalid,
            pkcs11.SessionHandleInvalid,
            pkcs11.SessionClosed,
            pkcs11.ObjectHandleInvalid,
            pkcs11.KeyHandleInvalid,
        )
        if not there or isinstance(error, gone):
            return NoApproverError(f"{name} is not there any more ({_reason(error)})", hint="plug it in again")
        if waited > _HUMAN:
            return ApproverTimeoutError(f"{name} gave up after {waited:.0f} seconds, untouched ({_reason(error)})")
        return ApproverRefusedError(f"{name} refused to sign ({_reason(error)})")


def _several(what: str, names: list[str]) -> NoApproverError:
    return NoApproverError(
        f"{len(names)} {what} fit: {', '.join(sorted(names))}", hint="name one: token, serial, object and id"
    )


def _label(token: Any) -> str:
    return state_of(token).label


def _reason(error: BaseException) -> str:
    """An error of the module's: most have a name only."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def approver_at(settings: Settings, state: State, person: Callable[[str], str] | None = None) -> TokenApprover:
    """The key that `settings.approve` names; nothing is asked of it. `person` asks a question on the terminal and
    returns what was typed, unseen; without it the token's PIN comes from CRYPTNOX_APPROVE_PIN_COMMAND or pinentry.

    Raises: BadRequestError for what is no URI.
    """
    return TokenApprover(TokenUri.parse(settings.approve), TokenPins(settings, state, person))
