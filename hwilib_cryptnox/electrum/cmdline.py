"""The plugin for Electrum's command line: questions on the terminal, the PIN unseen."""

from __future__ import annotations

import getpass
from typing import Any

from .pins import PinMemory
from .places import CmdLineHandler, hook
from .plugin import CryptnoxPlugin
from .review import Review


class TerminalHandler(CmdLineHandler):  # type: ignore[misc]
    """Asks on the terminal; the process is the window."""

    device = "Cryptnox card"

    def __init__(self) -> None:
        self.pins = PinMemory()

    def ask_pin(self, card: str, why: str) -> str | None:
        """The PIN; None for an empty line."""
        if why:
            self.show_error(why)
        return getpass.getpass(f"PIN of {card}: ") or None

    def confirm(self, question: str) -> bool:
        """Yes only where it is typed."""
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    def agree(self, review: Review) -> str | None:
        """Show what is to be signed, and ask."""
        self.show_message(review.text)
        if review.high_fee is not None:
            return review.answer(input("Type the fee in satoshi to sign: "))
        return review.answer() if self.confirm("Sign it?") else None

    def tell(self, text: str) -> None:
        """A message."""
        self.show_message(text)

    def yes_no_question(self, msg: str) -> bool:
        """Electrum's own takes an empty line for a yes."""
        return self.confirm(msg)


class Plugin(CryptnoxPlugin):
    """What Electrum loads for the command line."""

    def __init__(self, parent: Any, config: Any, name: str) -> None:
        self.handler = TerminalHandler()
        CryptnoxPlugin.__init__(self, parent, config, name)

    @hook  # type: ignore[untyped-decorator]
    def init_keystore(self, keystore: Any) -> None:
        """Give a keystore of ours the terminal."""
        if isinstance(keystore, self.keystore_class):
            keystore.handler = self.handler

    def create_handler(self, window: Any) -> TerminalHandler:  # noqa: ARG002 - Electrum's
        """The terminal."""
        return self.handler
