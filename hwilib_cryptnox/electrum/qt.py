"""The plugin for Electrum's window: dialogues for the PIN and the review, the wizard's pages, the card's button."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from PyQt6.QtCore import QRegularExpression, Qt, pyqtSignal
from PyQt6.QtGui import QRegularExpressionValidator
from PyQt6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
)

try:
    from electrum.hw_wallet.qt import QtHandlerBase, QtPluginBase
except ImportError:  # Electrum 4.6 and 4.7, perhaps: see `places`
    from electrum.plugins.hw_wallet.qt import QtHandlerBase, QtPluginBase
from electrum.gui.qt.util import (
    Buttons,
    CancelButton,
    CloseButton,
    OkButton,
    PasswordLineEdit,
    WindowModalDialog,
    WWLabel,
    read_QIcon,
)

from .errors import ProgramError
from .pins import is_pin
from .places import hook
from .plugin import PROGRAM_KEY, CryptnoxPlugin
from .program import find_program
from .review import Review
from .wizard import CryptnoxProblem, CryptnoxScript, CryptnoxXPub

TITLE = "Cryptnox card"
_DIGITS = QRegularExpression("[0-9]{0,9}")
_CHECK_TEXT = "Check address with {}"


class _Answered(threading.Event):
    """What a thread waits for while the window asks; for good once the window is left."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Lock()
        self.left = False

    def clear(self) -> None:
        """Wait anew, but not in a window that is left."""
        with self._gate:
            if not self.left:
                super().clear()

    def leave(self) -> None:
        """Nobody answers any more."""
        with self._gate:
            self.left = True
            self.set()


class Handler(QtHandlerBase):  # type: ignore[misc] # Electrum ships no types
    """Asks and tells in one window. What asks is called in another thread than the window's, and waits."""

    pin_signal = pyqtSignal(object, object)
    agree_signal = pyqtSignal(object)
    tell_signal = pyqtSignal(object)

    MESSAGE_DIALOG_TITLE = TITLE

    def __init__(self, window: Any, plugin: CryptnoxPlugin) -> None:
        super().__init__(window, TITLE)
        self.pins = plugin.memory_of(window)
        self.done = _Answered()
        self._answer: str | None = None
        self.pin_signal.connect(self._pin_dialog)
        self.agree_signal.connect(self._agree_dialog)
        self.tell_signal.connect(self._tell_dialog)

    def leave(self) -> None:
        """The window closes: nobody is asked any more, and who waits for an answer gets a no."""
        self.done.leave()

    def ask_pin(self, card: str, why: str) -> str | None:
        """The PIN; None where the person leaves."""
        return self._asked(self.pin_signal, card, why)

    def agree(self, review: Review) -> str | None:
        """Show what is to be signed; the answer for the program, None for a no."""
        return self._asked(self.agree_signal, review)

    def confirm(self, question: str) -> bool:
        """A yes or no."""
        return self.yes_no_question(question)

    def tell(self, text: str) -> None:
        """A message with a button."""
        self.tell_signal.emit(text)

    def yes_no_question(self, msg: str) -> bool:
        """Electrum's; no in a window that is left."""
        self.ok = False
        return not self.done.left and bool(super().yes_no_question(msg)) and not self.done.left

    def query_choice(self, msg: str, choices: Any) -> Any:
        """Electrum's; nothing is chosen in a window that is left."""
        self.choice = None
        return None if self.done.left else super().query_choice(msg, choices)

    def _asked(self, signal: Any, *what: object) -> str | None:
        if self.done.left:
            return None
        self._answer = None
        self.done.clear()
        signal.emit(*what)
        self.done.wait()
        answer, self._answer = self._answer, None
        return None if self.done.left else answer

    # In the window's thread

    def _pin_dialog(self, card: str, why: str) -> None:
        try:
            self.clear_dialog()
            self._answer = PinDialog(self.top_level_window(), card, why).ask()
        finally:
            self.done.set()

    def _agree_dialog(self, review: Review) -> None:
        try:
            self.clear_dialog()
            self._answer = ReviewDialog(self.top_level_window(), review).ask()
        finally:
            self.done.set()

    def _tell_dialog(self, text: str) -> None:
        self.clear_dialog()
        self.win.show_message(text, parent=self.top_level_window(), title=TITLE)


class PinDialog(WindowModalDialog):  # type: ignore[misc]
    """Asks for the PIN of a card, unseen."""

    def __init__(self, parent: Any, card: str, why: str) -> None:
        super().__init__(parent, f"{TITLE}: PIN")
        layout = QVBoxLayout(self)
        if why:
            wrong = WWLabel(why)
            wrong.setStyleSheet("font-weight: bold")
            layout.addWidget(wrong)
        layout.addWidget(WWLabel(f"Type the PIN of {card}."))
        self._edit = PasswordLineEdit()
        self._edit.setValidator(QRegularExpressionValidator(_DIGITS, self._edit))
        layout.addWidget(self._edit)
        layout.addWidget(WWLabel("Electrum keeps it in memory until this window closes, and for some minutes at most."))
        button = OkButton(self)
        button.setEnabled(False)
        self._edit.textChanged.connect(lambda text: button.setEnabled(is_pin(text)))
        layout.addLayout(Buttons(CancelButton(self), button))
        self._edit.setFocus()

    def ask(self) -> str | None:
        """What was typed; None where the person left."""
        pin = str(self._edit.text()) if self.exec() else None
        self._edit.clear()
        return pin


class ReviewDialog(WindowModalDialog):  # type: ignore[misc]
    """Shows what the card is about to sign. Nothing is signed unless the person says so."""

    def __init__(self, parent: Any, review: Review) -> None:
        super().__init__(parent, f"{TITLE}: review")
        self._review = review
        self.setMinimumSize(620, 360)
        layout = QVBoxLayout(self)
        layout.addWidget(WWLabel("The card has no screen. This is what it is about to sign:"))
        text = QPlainTextEdit("\n".join([*review.lines, *(f"Note: {note}" for note in review.notes)]))
        text.setReadOnly(True)
        layout.addWidget(text)
        for warning in review.warnings:
            label = WWLabel(f"WARNING: {warning}")
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setStyleSheet("font-weight: bold; color: #c03030")
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            layout.addWidget(label)
        self._typed = QLineEdit()
        button = OkButton(self, "Sign")
        button.setDefault(not review.warnings)
        if review.high_fee is not None:
            row = QHBoxLayout()
            row.addWidget(QLabel("Type the fee in satoshi to sign:"))
            row.addWidget(self._typed)
            layout.addLayout(row)
            button.setEnabled(False)
            self._typed.textChanged.connect(lambda typed: button.setEnabled(review.answer(typed) is not None))
        layout.addLayout(Buttons(CancelButton(self), button))

    def ask(self) -> str | None:
        """The answer for the program; None for a no."""
        return self._review.answer(self._typed.text()) if self.exec() else None


class Plugin(CryptnoxPlugin, QtPluginBase):  # type: ignore[misc]
    """What Electrum loads for its window."""

    icon_unpaired = "cryptnox_unpaired.png"
    icon_paired = "cryptnox.png"

    def create_handler(self, window: Any) -> Handler:
        """One for each window; its PINs are the window's."""
        return Handler(window, self)

    # The wallet's window

    def load_wallet(self, wallet: Any, window: Any) -> None:
        """A hook: the program may have been installed since it was missing."""
        self.look_anew()
        QtPluginBase.load_wallet(self, wallet, window)

    def close_wallet(self, wallet: Any) -> None:
        """A hook: end what this wallet waits for, so that its window closes at once."""
        for keystore in wallet.get_keystores():
            if isinstance(keystore, self.keystore_class) and isinstance(keystore.handler, Handler):
                keystore.handler.leave()
                keystore.handler.pins.forget()
                self.cancel_of(keystore)
        CryptnoxPlugin.close_wallet(self, wallet)

    @hook  # type: ignore[untyped-decorator]
    def receive_menu(self, menu: Any, addrs: Any, wallet: Any) -> None:
        """In the menu of an address."""
        if len(addrs) == 1:
            self._add_menu_action(menu, addrs[0], wallet)

    @hook  # type: ignore[untyped-decorator]
    def transaction_dialog_address_menu(self, menu: Any, addr: Any, wallet: Any) -> None:
        """In the menu of an address of a transaction."""
        self._add_menu_action(menu, addr, wallet)

    def _add_menu_action(self, menu: Any, address: str, wallet: Any) -> None:
        if not wallet.is_mine(address):
            return
        for keystore in wallet.get_keystores():
            if isinstance(keystore, self.keystore_class):
                check = partial(self._check_address, wallet, address, keystore)
                menu.addAction(read_QIcon("eye1.png"), _CHECK_TEXT.format(keystore.label or TITLE), check)

    def add_show_address_on_hw_device_button_for_receive_addr(self, wallet: Any, keystore: Any, window: Any) -> None:
        """In the menu of the tab that shows the address to receive with."""
        tab = window.receive_tab

        def check() -> None:
            self._check_address(wallet, str(tab.addr), keystore)

        tab.toolbar_menu.addAction(read_QIcon("eye1.png"), _CHECK_TEXT.format(keystore.label or TITLE), check)

    def _check_address(self, wallet: Any, address: str, keystore: Any) -> None:
        keystore.thread.add(partial(self.show_address, wallet, address, keystore))

    def show_settings_dialog(self, window: Any, keystore: Any) -> None:
        """A click on the card at the bottom of the window."""
        CardDialog(window, self, keystore).exec()

    # The plugin's settings

    def requires_settings(self) -> bool:
        """There is one: where the program is."""
        return True

    def settings_dialog(self, window: Any, *_: Any) -> None:
        """Name the program."""
        ProgramDialog(window, self.config).exec()

    # The wizard

    def extend_wizard(self, wizard: Any) -> None:
        """The looks of the pages."""
        super().extend_wizard(wizard)
        wizard.navmap_merge(
            {
                "cryptnox_start": {"gui": CryptnoxScript},
                "cryptnox_xpub": {"gui": CryptnoxXPub},
                "cryptnox_problem": {"gui": CryptnoxProblem},
            }
        )


class CardDialog(WindowModalDialog):  # type: ignore[misc]
    """The card of a wallet: whether it is there, pair again, forget the PIN."""

    def __init__(self, window: Any, plugin: Plugin, keystore: Any) -> None:
        super().__init__(window, TITLE)
        self._window, self._plugin, self._keystore = window, plugin, keystore
        layout = QVBoxLayout(self)
        form = QFormLayout()
        card = plugin.known.get(keystore.soft_device_id)
        state = "not connected" if card is None else card.problem or card.state
        rows = {
            "Card": keystore.label or "unknown",
            "State": state,
            "Master fingerprint": keystore.get_root_fingerprint() or "unknown",
            "Path": keystore.get_derivation_prefix() or "unknown",
        }
        for name, value in rows.items():
            label = WWLabel(value)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            form.addRow(f"{name}:", label)
        layout.addLayout(form)
        pair, forget = QPushButton("Pair again"), QPushButton("Forget the PIN")
        pair.clicked.connect(self._pair)
        forget.clicked.connect(self._forget)
        layout.addLayout(Buttons(pair, forget, CloseButton(self)))

    def _pair(self) -> None:
        self.accept()
        paired = partial(self._window.show_message, "The card is paired with this wallet.")
        self._keystore.thread.add(
            partial(self._plugin.pair_again, self._keystore), on_success=lambda done: paired() if done else None
        )

    def _forget(self) -> None:
        self._keystore.handler.pins.forget()
        self._plugin.refused.clear(self._keystore.soft_device_id)  # the PIN may have been changed since
        self.accept()
        self._window.show_message("The PIN is forgotten. The next command asks for it.")


class ProgramDialog(WindowModalDialog):  # type: ignore[misc]
    """Where hwi-cryptnox is."""

    def __init__(self, parent: Any, config: Any) -> None:
        super().__init__(parent, f"{TITLE}: settings")
        self._config = config
        self.setMinimumWidth(520)
        layout = QVBoxLayout(self)
        layout.addWidget(WWLabel("The file of the program hwi-cryptnox. Leave it empty to look in the usual folders."))
        row = QHBoxLayout()
        self._edit = QLineEdit(str(config.get(PROGRAM_KEY) or ""))
        browse = QPushButton("Choose...")
        browse.clicked.connect(self._browse)
        row.addWidget(self._edit)
        row.addWidget(browse)
        layout.addLayout(row)
        self._found = WWLabel("")
        layout.addWidget(self._found)
        button = OkButton(self)
        button.clicked.connect(self._save)
        layout.addLayout(Buttons(CancelButton(self), button))
        self._edit.textChanged.connect(self._look)
        self._look()

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "The program hwi-cryptnox")
        if name:
            self._edit.setText(name)

    def _look(self) -> None:
        try:
            self._found.setText(f"Found: {find_program(self._edit.text().strip())}")
        except ProgramError as error:
            self._found.setText(str(error))

    def _save(self) -> None:
        self._config.set_key(PROGRAM_KEY, self._edit.text().strip() or None)
