"""The pages of the card in the wizard for new wallets: script type and path, the key, and what is wrong with a card."""

from __future__ import annotations

from typing import Any

from electrum.gui.qt.util import WWLabel
from electrum.gui.qt.wizard.wallet import WalletWizardComponent, WCHWXPub, WCScriptAndDerivation
from PyQt6.QtCore import Qt

from .client import LEAST_LEVELS, LEVELS_TEXT, MOST_LEVELS
from .places import CardProblem, UserCancelled, steps_of


def _device(page: Any) -> Any:
    """What was chosen on the page before."""
    _, info = page.wizard.current_cosigner(page.wizard_data)["hardware_device"]
    return info


class CryptnoxScript(WCScriptAndDerivation):  # type: ignore[misc] # Electrum ships no types
    """Electrum's page; says at once which paths the card has no key for."""

    valid: bool

    def validate(self) -> None:
        """Called for every change."""
        super().validate()
        if not self.valid:
            return
        try:
            levels = len(steps_of(str(self.derivation_path_edit.text())))
        except CardProblem:
            levels = 0
        if not LEAST_LEVELS <= levels <= MOST_LEVELS:
            self.warn_label.setText(LEVELS_TEXT)
            self.valid = False


class CryptnoxXPub(WCHWXPub):  # type: ignore[misc]
    """Electrum's page; the PIN is asked for in this wizard, whoever used the card before."""

    def on_ready(self) -> None:
        """Ask the card for its key."""
        info = _device(self)
        client = self.plugins.device_manager.client_by_id(info.device.id_, scan_now=False)
        if client is not None:
            client.handler = self.plugins.get_plugin(info.plugin_name).create_handler(self.wizard)
        super().on_ready()

    def get_xpub_from_client(self, client: Any, derivation: str, xtype: str) -> Any:
        """In a thread; what the page shows is a sentence."""
        try:
            return super().get_xpub_from_client(client, derivation, xtype)
        except UserCancelled:
            raise CardProblem("The card was not asked, since no PIN was typed. Go back and try again.") from None


class CryptnoxProblem(WalletWizardComponent):  # type: ignore[misc]
    """Why the wizard does not go on with this card, and what to do."""

    def __init__(self, parent: Any, wizard: Any) -> None:
        WalletWizardComponent.__init__(self, parent, wizard, title="This card cannot be used now")
        self._valid = False

    def on_ready(self) -> None:
        """Say it."""
        info = _device(self)
        plugin = self.wizard.plugins.get_plugin(info.plugin_name)
        problem = WWLabel(plugin.problem_of(info.device.path))
        problem.setTextFormat(Qt.TextFormat.PlainText)
        self.layout().addWidget(problem)
        self.layout().addWidget(WWLabel("Then go back and rescan the devices."))
        self.layout().addStretch(1)

    def apply(self) -> None:
        """Nothing is chosen here."""
