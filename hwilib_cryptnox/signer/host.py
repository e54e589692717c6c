"""This computer as a command finds it: settings, what is remembered, the way to its readers, where PINs come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

from hwilib_cryptnox.pin.approval import approval_of, on_terminal
from hwilib_cryptnox.pin.approver import Approver
from hwilib_cryptnox.pin.policy import Asker, Unlocker
from hwilib_cryptnox.pin.sources import automatic_sources
from hwilib_cryptnox.signer.cards import ANSWER_LIMIT, Access
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State


@dataclass(frozen=True)
class Host:
    """For one command. Each part is made when it is first asked for. `emulators`, `answer_limit`: see `Access`."""

    given: Settings | None = None
    """None for the settings of environment and configuration file; then what needs them raises SettingsError."""
    emulators: bool = False
    answer_limit: float = ANSWER_LIMIT

    @cached_property
    def settings(self) -> Settings:
        """What the user chose."""
        return Settings.load() if self.given is None else self.given

    @cached_property
    def state(self) -> State:
        """What this computer remembers."""
        return State()

    @cached_property
    def access(self) -> Access:
        """The way to the cards."""
        return Access(self.settings, self.state, self.emulators, self.answer_limit)

    def changed(self, settings: Settings) -> Host:
        """The same with other settings."""
        return replace(self, given=settings)

    def unlocker(
        self,
        password: str | None = None,
        *,
        typed: bool = False,
        person: Asker | None = None,
        hidden: Callable[[str], str] | None = None,
        say: Callable[[str], None] = on_terminal,
    ) -> Unlocker:
        """Sends the PIN that was given for the command, or that of the sources that are set up, or what `person` types.

        `typed`: no source, and no key that approves. `hidden`: see `approver`. `say`: where a touch is asked for.
        """
        sources = () if typed else automatic_sources(self.settings)
        approval = None if typed else approval_of(self.settings, partial(self.approver, hidden), say)
        return Unlocker(self.settings, self.state, password or None, sources, person=person, approval=approval)

    def approver(self, person: Callable[[str], str] | None = None) -> Approver:
        """The key that the settings name for approvals. `person` asks for the PIN of its token on the terminal.

        Raises: BadRequestError for what is no URI.
        """
        from hwilib_cryptnox.pin.pkcs11 import approver_at

        return approver_at(self.settings, self.state, person)

    def wallet(self, path: str, password: str | None = None) -> Wallet:
        """The card at a path, which is opened when it is first needed."""
        return Wallet(path, self.access, self.unlocker(password))
