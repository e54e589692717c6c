"""What the wallet side refuses, as kinds: a class an error, and no numbers. Each face maps classes to what it answers
with (`hwi/errors.py` to HWI's codes, `ctl/errors.py` to exit codes); nobody compares texts."""

from __future__ import annotations


class WalletError(Exception):
    """A refusal of the wallet side: a sentence that says what is so, and often what to do.

    `hint`: what to do, where the text does not say it. `spent`: it cost a PIN try. `unchanged`: the end of the text,
    which says that nothing was changed: it is left out where something was, before.
    """

    def __init__(self, message: str, *, hint: str = "", spent: bool = False, unchanged: str = "") -> None:
        super().__init__(message + unchanged)
        self.hint = hint
        self.spent = spent
        self.unchanged = unchanged

    @property
    def said(self) -> str:
        """The text without `unchanged`."""
        text = str(self)
        return text[: len(text) - len(self.unchanged)]


class CardNotFoundError(WalletError):
    """The card that is meant is not there: no card, another one, or one that is not admitted."""


def another_card(serial: int) -> CardNotFoundError:
    """The refusal of what is in the reader instead of the card that was worked with."""
    return CardNotFoundError(f"another card is in its place: the card {serial} was in use")


class RefusedCardError(CardNotFoundError):
    """There is a card, and nothing is to be asked of it: an impostor, or one that the configuration does not admit."""


class UnreadableCardsError(RefusedCardError):
    """It cannot be read which cards are known here, so that any card that nobody vouches for may be an impostor."""

    def __init__(self, serial: int, cause: Exception) -> None:
        super().__init__(
            f"{cause}; so this computer cannot tell whether the card {serial} is the one that it knows, and refuses it "
            "(make the file yours and readable, or remove it)",
            hint="cryptnoxctl doctor shows what is wrong with the folder",
        )


class NotReadyError(WalletError):
    """The card, or what belongs to it, has to be brought into another state first."""


class LockedPinError(NotReadyError):
    """The card accepts no PIN: blocked, or until it is powered anew."""


class SoftLockedError(NotReadyError):
    """The card answers nothing until it is powered anew. `spent` is False: this was seen before a PIN was sent."""

    def __init__(self) -> None:
        super().__init__(SOFT_LOCKED_TEXT)


class LastTryError(NotReadyError):
    """So few PIN tries are left that none is spent without being told to."""


class PinAuthOffError(NotReadyError):
    """The card takes no PIN at all."""

    def __init__(self) -> None:
        super().__init__(PIN_AUTH_OFF_TEXT)


class TouchNeededError(NotReadyError):
    """The key that approves signatures has to be touched once, and nobody may be asked to now."""

    def __init__(self) -> None:
        super().__init__(TOUCH_TEXT)


class ExportOffError(NotReadyError):
    """The card gives no extended keys."""

    def __init__(self) -> None:
        super().__init__(EXPORT_OFF_TEXT)


class NotShownError(NotReadyError):
    """What has to be shown before it is signed cannot be shown."""


class NoWalletError(WalletError):
    """The card holds no wallet: not initialized, without a seed, or with a single key."""


class AlreadyInitializedError(WalletError):
    """The card holds a wallet already."""


class BadRequestError(WalletError):
    """What was asked for, or what it was asked with, has no meaning or is not allowed."""


class UnavailableError(WalletError):
    """Neither this card nor any other of its kind does that; or not here."""


class FailedError(WalletError):
    """The card, or somebody on the way, did what must not be."""


class NoPinError(WalletError):
    """No source has a PIN for this card. `reason`: the message without a word on how PINs are given. `why`: that
    without a word on commands."""

    def __init__(self, message: str, reason: str | None = None, *, why: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason
        self.why = self.reason if why is None else why


class RefusedPinError(WalletError):
    """A PIN was refused, now or before; nothing more is sent. `spent`: just now, and a try with it. `how`: the end of
    the text, which says how the right one is given. `reason`: the text without it."""

    def __init__(self, message: str, left: int | None = None, *, spent: bool = False, how: str = "") -> None:
        super().__init__(f"{message}; {how}" if how else message, spent=spent)
        self.left = left
        self.reason = message if how else None


class CanceledError(WalletError):
    """The person did not agree, or left."""


# Keys that approve signatures


class ApproverError(NotReadyError):
    """The key that approves signatures gives none now. What was signed before stays signed."""


class NoApproverError(ApproverError):
    """The key is not there: no such token or key, it was pulled out, or what talks to it cannot be loaded."""


class UnknownCardError(ApproverError):
    """Nothing vouches for the card, so the key is not asked: it could be approving for somebody else."""


class ApproverPinError(ApproverError):
    """The token's own PIN: refused, locked, or not to be had. `left`: tries that are left, None where the token does
    not tell; 0: it is locked. `spent`: a try of it was spent just now."""

    def __init__(self, message: str, left: int | None = None, *, hint: str = "", spent: bool = False) -> None:
        super().__init__(message, hint=hint, spent=spent)
        self.left = left


class ApproverRefusedError(ApproverError):
    """The token refused to sign, or what it signed is no signature of its key, or the card does not take its key."""


class ApproverTimeoutError(ApproverError):
    """Nobody touched the token in time."""


class ApproverCanceledError(CanceledError):
    """The person canceled at the token, or left the dialogue that asks for its PIN."""


# On the terminal


class TerminalError(WalletError):
    """What a person at a terminal is told as it stands: a whole sentence, and a hint of its own."""


class LeftError(TerminalError, CanceledError):
    """The person said no at the terminal, or left it."""

    def __init__(self, message: str | None = None) -> None:
        """Without a message: nothing was changed."""
        if message is None:
            super().__init__("Canceled", unchanged=NOTHING_CHANGED)
        else:
            super().__init__(message)


class BackError(LeftError):
    """The person wants the question before this one again. Raised only within `Terminal.a_way_back`."""


class NoTerminalError(TerminalError):
    """There is nobody to ask."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"There is no terminal to ask on: {what}", hint="run this command in a terminal, or see its --help"
        )


class NoHiddenInputError(TerminalError):
    """Secrets cannot be typed unseen on this terminal."""


class BadWordsError(TerminalError):
    """What was typed are no recovery words, or not those of the card."""


class UnknownPukError(TerminalError):
    """What was typed is not the card's PUK."""


class SetUpError(TerminalError):
    """The card must not be set up, or is not what it should be then."""


# Told anew


class RetoldError(WalletError):
    """Another error in other words: it is of the kind of its `cause`."""

    def __init__(self, cause: BaseException, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, spent=getattr(cause, "spent", False))
        self.cause = cause


class EndedError(RetoldError):
    """The end of a set-up, told with what is true of the card."""


NOTHING_CHANGED = "; nothing was changed"
NO_SCREEN_TEXT = "The Cryptnox card has no screen"
NOT_FOUND_TEXT = "Could not find device with specified fingerprint or type"
BUSY_TEXT = "Card is in use by another program"
LOCKED_TEXT = "PIN blocked: unblock with the PUK (cryptnoxctl pin unblock)"
SOFT_LOCKED_TEXT = "PIN locked for this session: remove and re-insert the card"
NO_PIN_NOW_TEXT = (
    "No PIN is accepted: remove and re-insert the card; if that does not help, unblock with the PUK "
    "(cryptnoxctl pin unblock)"
)
EXPORT_OFF_TEXT = "xpub export is off: cryptnoxctl xpub on (needs the PUK)"
PAIRING_TEXT = "paired with another key: cryptnoxctl pairing recover (needs the PUK)"
NOT_INITIALIZED_TEXT = "Not initialized"
NO_SEED_TEXT = "Not initialized: the card has no seed"
SINGLE_KEY_TEXT = "the card holds a single key, not a wallet"
PIN_AUTH_OFF_TEXT = (
    "PIN authentication is off on this card: a user key approves each signature; name it with approve in config.toml, "
    "or CRYPTNOX_APPROVE (pkcs11:...)"
)
TOUCH_TEXT = "a touch of the approving key is needed once: cryptnoxctl info"
UNSEEN_TEXT = (
    "the PSBT signs a message (BIP322), which is signed only after you have seen it, and nothing here shows it: use "
    'cryptnoxctl sign, set confirm = "pinentry" in config.toml, or sign the text with signmessage'
)
RESET_DISABLED_TEXT = "Reset is permanently disabled on this card: it cannot be erased; nothing was sent"


def wrong_pin_text(left: int) -> str:
    """What a refused PIN is answered with."""
    return f"Wrong PIN, {tries_text(left)} left at most"


def tries_text(left: int) -> str:
    """A number of tries."""
    return f"{left} {'try' if left == 1 else 'tries'}"
