"""Runs inside Electrum: a hand that looks at its windows and uses them, told what to do over a socket.

`python hand.py SOCKET PROGRAM ARGUMENTS...` runs Electrum's own start script. Each command is a line of JSON, and so is
each answer: what `{"do": NAME, ...}` gives is `{"result": ...}` or `{"error": TEXT}`. Everything that a person does is
done with mouse and keyboard events; nothing of Electrum is replaced.
"""

from __future__ import annotations

import json
import re
import runpy
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPoint, QRect, Qt, QTimer, pyqtSignal, pyqtSlot
from PyQt6.QtGui import QAction, QColor, QImage, QPainter
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QComboBox,
    QDialog,
    QGroupBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QSlider,
    QTabBar,
    QTextEdit,
    QToolButton,
    QWidget,
)

BEAT = 20
"""Milliseconds between two beats of the window's heart."""
LEFT = Qt.MouseButton.LeftButton
TITLE = 24
"""Pixels of a title in a picture."""


class Hand(QObject):
    """Lives in the window's thread."""

    told = pyqtSignal(object)

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._last = time.monotonic()
        self._longest = 0.0
        self._timer: QTimer | None = None
        self.told.connect(self._obey, Qt.ConnectionType.QueuedConnection)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with self._connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                self.told.emit(json.loads(line))

    @pyqtSlot(object)
    def _obey(self, command: dict[str, Any]) -> None:
        if self._timer is None:
            self._timer = QTimer(self)
            self._timer.timeout.connect(self._beat)
            self._timer.start(BEAT)
            self._last = time.monotonic()
        name = command.pop("do")
        try:
            answer = {"result": getattr(self, name)(**command)}
        except Exception as error:  # noqa: BLE001 - the test is told
            answer = {"error": f"{error!r}\n{traceback.format_exc()}"}
        self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def _beat(self) -> None:
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    # What can be asked for

    def see(self) -> list[dict[str, Any]]:
        """Every window: its title, whether it is a dialogue, and what can be read in it."""
        return [
            {
                "title": window.windowTitle(),
                "kind": type(window).__name__,
                "dialogue": isinstance(window, QDialog),
                "modal": window.isModal(),
                "rows": [row for child in _shown(window) for row in _rows(child)],
            }
            for window in _windows()
        ]

    def click(self, text: str, window: str = "") -> bool:
        """Press a button, a box or a tab with this text (or hint); False where there is none that can be pressed."""
        for place in _windows(window):
            for child in _shown(place):
                if isinstance(child, QAbstractButton) and child.isEnabled() and _named(child, text):
                    left = isinstance(child, QRadioButton | QCheckBox)
                    where = QPoint(8, child.height() // 2) if left else child.rect().center()
                    _later(child, where)
                    return True
                if isinstance(child, QTabBar):
                    for index in range(child.count()):
                        if _matches(child.tabText(index), text):
                            _later(child, child.tabRect(index).center())
                            return True
        return False

    def menu(self, path: list[str], window: str = "") -> bool:
        """Choose an entry of a menu bar, or of a button's menu (the button's text or hint comes first)."""
        for place in _windows(window):
            chosen = _chosen(place, path)
            if chosen is not None and chosen.isEnabled():
                QTimer.singleShot(0, chosen.trigger)
                return True
        return False

    def context(self, text: str, path: list[str], window: str = "") -> bool:
        """Choose an entry of the menu that a click with the right button on a line of a list opens."""
        for place in _windows(window):
            for child in _shown(place):
                if not isinstance(child, QAbstractItemView):
                    continue
                model = child.model()
                assert model is not None
                for index in _cells(model):
                    if text in str(index.data() or ""):
                        child.scrollTo(index)
                        child.setCurrentIndex(index)
                        asked = partial(child.customContextMenuRequested.emit, child.visualRect(index).center())
                        QTimer.singleShot(300, partial(_from_popup, path))
                        QTimer.singleShot(0, asked)
                        return True
        return False

    def write(self, text: str, number: int = 0, window: str = "", label: str = "") -> bool:
        """Type into a field: the one of this number among those that can be written to, or that which has a label."""
        fields = [field for field in _fields(window) if not label or _matches(_label_of(field), label)]
        if len(fields) <= number:
            return False
        field = fields[number]
        field.setFocus()
        field.selectAll()
        if text:
            QTest.keyClicks(field, text)
        else:
            QTest.keyClick(field, Qt.Key.Key_Delete)
        return True

    def paste(self, text: str, number: int = 0, window: str = "") -> bool:
        """Into a field, what was copied elsewhere."""
        fields = _fields(window)
        if len(fields) <= number:
            return False
        QApplication.clipboard().setText(text)
        fields[number].setFocus()
        QTest.keyClick(fields[number], Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
        return True

    def read(self, number: int, window: str = "") -> str:
        """What is in a field."""
        field = _fields(window)[number]
        return field.text() if isinstance(field, QLineEdit) else field.toPlainText()

    def press(self, key: str) -> bool:
        """A key, by Qt's name for it, where the focus is."""
        target = QApplication.focusWidget() or QApplication.activeModalWidget()
        if target is None:
            return False
        QTimer.singleShot(0, lambda: QTest.keyClick(target, Qt.Key[f"Key_{key}"]))
        return True

    def pick(self, text: str, window: str = "") -> bool:
        """An entry of a drop-down list."""
        for place in _windows(window):
            for child in _shown(place):
                if isinstance(child, QComboBox):
                    for index in range(child.count()):
                        if _matches(child.itemText(index), text):
                            child.setCurrentIndex(index)
                            child.activated.emit(index)
                            return True
        return False

    def slide(self, number: int, value: int, window: str = "") -> bool:
        """A slider to a value, by its keys."""
        sliders = [child for place in _windows(window) for child in _shown(place) if isinstance(child, QSlider)]
        if len(sliders) <= number:
            return False
        slider = sliders[number]
        key = Qt.Key.Key_Right if value > slider.value() else Qt.Key.Key_Left
        for _ in range(abs(value - slider.value())):
            QTest.keyClick(slider, key)
        return bool(slider.value() == value)

    def close(self, window: str = "") -> bool:
        """The window's own cross."""
        for place in _windows(window):
            QTimer.singleShot(0, place.close)
            return True
        return False

    def shoot(self, path: str, window: str = "", width: int = 0) -> list[int]:
        """A picture of everything on the screen, or of one window; width and height."""
        image = _picture(window)
        if width and image.width() > width:
            image = image.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
        image = image.convertToFormat(
            QImage.Format.Format_Indexed8, Qt.ImageConversionFlag.ThresholdDither | Qt.ImageConversionFlag.AvoidDither
        )
        assert image.save(path, "PNG", 0)
        return [image.width(), image.height()]

    def longest_pause(self) -> float:
        """Seconds that the window did not react since this was asked last."""
        longest, self._longest = max(self._longest, time.monotonic() - self._last), 0.0
        return longest

    def receive(self, raw: str) -> str:
        """A transaction arrives, as the network would bring it; its id."""
        from electrum.transaction import Transaction

        transaction = Transaction(raw)
        txid = str(transaction.txid())
        assert self._wallet().adb.add_transaction(transaction)
        return txid

    def addresses(self) -> dict[str, list[str]]:
        """The wallet's."""
        wallet = self._wallet()
        return {"receive": wallet.get_receiving_addresses(), "change": wallet.get_change_addresses()}

    def receiving(self) -> str:
        """The address that the Receive tab shows, or nothing."""
        (window,) = [w for w in _windows() if type(w).__name__ == "ElectrumWindow"]
        return str(window.receive_tab.addr or "")  # type: ignore[attr-defined]

    def clipboard(self) -> str:
        """What was copied."""
        return QApplication.clipboard().text()

    def quit(self) -> bool:
        """End Electrum as its menu does."""
        QTimer.singleShot(0, QApplication.quit)
        return True

    @staticmethod
    def _wallet() -> Any:
        (window,) = [w for w in _windows() if type(w).__name__ == "ElectrumWindow"]
        return window.wallet  # type: ignore[attr-defined]


def _windows(title: str = "") -> Iterator[QWidget]:
    """Those that are shown, what lies in front first."""
    shown = [window for window in QApplication.topLevelWidgets() if window.isVisible() and window.width() > 1]
    modal = QApplication.activeModalWidget()
    shown.sort(key=lambda window: (window is not modal, not isinstance(window, QDialog), -_depth(window)))
    return (window for window in shown if title in window.windowTitle())


def _depth(widget: QWidget) -> int:
    depth = 0
    parent = QWidget.parentWidget(widget)
    while parent is not None:
        depth, parent = depth + 1, QWidget.parentWidget(parent)
    return depth


def _shown(window: QWidget) -> Iterator[QWidget]:
    for child in window.findChildren(QWidget):
        # Electrum's own windows have attributes of the same name.
        if child.isVisible() and QWidget.window(child) is window:
            yield child


def _fields(window: str) -> list[QLineEdit | QTextEdit | QPlainTextEdit]:
    """Those that can be written to."""
    return [
        child
        for place in _windows(window)
        for child in _shown(place)
        if isinstance(child, QLineEdit | QTextEdit | QPlainTextEdit)
        and child.isEnabled()
        and not child.isReadOnly()
        and not isinstance(QObject.parent(child), QComboBox)
    ]


def _plain(text: str) -> str:
    return re.sub(r"<[^>]+>", "", text).replace("&", "").strip()


def _matches(text: str, wanted: str) -> bool:
    text = _plain(text)
    return text == wanted or (wanted.endswith("*") and text.startswith(wanted[:-1]))


def _named(button: QAbstractButton, wanted: str) -> bool:
    return _matches(button.text(), wanted) or (not button.text() and _matches(button.toolTip(), wanted))


def _label_of(field: QWidget) -> str:
    """The label to the left of a field, on its line."""
    window = QWidget.window(field)
    assert window is not None
    here = field.mapTo(window, QPoint(0, field.height() // 2))
    near = [
        (here.x() - there.x(), _plain(label.text()))
        for label in _shown(window)
        if isinstance(label, QLabel) and _plain(label.text())
        for there in (label.mapTo(window, QPoint(0, label.height() // 2)),)
        if there.x() < here.x() and abs(there.y() - here.y()) < max(12, field.height() // 2)
    ]
    return min(near)[1] if near else ""


def _rows(widget: QWidget) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] | None = None
    if isinstance(widget, QLabel):
        row = {"kind": "label", "text": _plain(widget.text())}
    elif isinstance(widget, QAbstractButton):
        row = {"kind": "button", "text": _plain(widget.text()), "on": widget.isChecked()}
    elif isinstance(widget, QLineEdit):
        hidden = widget.echoMode() != QLineEdit.EchoMode.Normal
        row = {"kind": "field", "text": widget.displayText() if hidden else widget.text(), "hidden": hidden}
        row["hint"] = widget.placeholderText()
    elif isinstance(widget, QTextEdit | QPlainTextEdit):
        row = {"kind": "text", "text": widget.toPlainText()}
    elif isinstance(widget, QComboBox):
        row = {"kind": "choice", "text": widget.currentText()}
    elif isinstance(widget, QProgressBar):
        row = {"kind": "progress", "text": widget.text(), "value": widget.value(), "most": widget.maximum()}
    elif isinstance(widget, QGroupBox):
        row = {"kind": "group", "text": _plain(widget.title())}
    elif isinstance(widget, QTabBar):
        row = {"kind": "tabs", "text": " | ".join(widget.tabText(i) for i in range(widget.count()))}
    elif isinstance(widget, QAbstractItemView) and widget.model() is not None:
        model = widget.model()
        assert model is not None
        cells = [str(index.data() or "") for index in _cells(model)]
        row = {"kind": "list", "text": " | ".join(cell for cell in cells if cell)}
    if row is not None and (row["text"] or row["kind"] in ("field", "text", "progress")):
        yield {**row, "enabled": widget.isEnabled()}


def _cells(model: QAbstractItemModel, parent: QModelIndex | None = None) -> Iterator[QModelIndex]:
    above = QModelIndex() if parent is None else parent
    for row in range(min(model.rowCount(above), 500)):
        for column in range(model.columnCount(above)):
            yield model.index(row, column, above)
        yield from _cells(model, model.index(row, 0, above))


def _chosen(place: QWidget, path: list[str]) -> QAction | None:
    bar = getattr(place, "menuBar", None)
    chosen = _step(bar().actions(), path) if bar is not None else None
    for button in _shown(place):
        inner = button.menu() if isinstance(button, QToolButton | QPushButton) else None
        if chosen is None and inner is not None and path[0] in (_plain(button.text()), button.toolTip()):
            chosen = _step(inner.actions(), path[1:])
    return chosen


def _step(actions: list[QAction], path: list[str]) -> QAction | None:
    chosen = None
    for step in path:
        chosen = next((action for action in actions if _matches(action.text(), step)), None)
        inner = chosen.menu() if chosen is not None else None
        if isinstance(inner, QMenu):
            inner.aboutToShow.emit()
            actions = inner.actions()
    return chosen


def _from_popup(path: list[str]) -> None:
    popup = QApplication.activePopupWidget()
    if isinstance(popup, QMenu):
        chosen = _step(popup.actions(), path)
        popup.close()
        if chosen is not None and chosen.isEnabled():
            chosen.trigger()


def _later(widget: QWidget, where: QPoint) -> None:
    """Click when the answer was given: what a button starts may run until a dialogue is closed."""

    def click() -> None:
        if widget.isVisible():
            QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, where)

    QTimer.singleShot(0, click)


def _picture(title: str) -> QImage:
    """The windows as they lie on the screen, each with its title: there is nobody else here who would draw it."""
    windows = [*_windows(title)][::-1]
    bounds = QRect()
    for window in windows:
        bounds = bounds.united(window.geometry().adjusted(0, -TITLE, 0, 0))
    image = QImage(bounds.size(), QImage.Format.Format_RGB32)
    image.fill(QColor("white"))
    painter = QPainter(image)
    for window in windows:
        place = window.geometry().translated(-bounds.topLeft())
        bar = QRect(place.left(), place.top() - TITLE, place.width(), TITLE)
        painter.fillRect(bar, QColor("#d8dce2"))
        painter.setPen(QColor("#202020"))
        painter.drawText(bar, Qt.AlignmentFlag.AlignCenter, window.windowTitle())
        painter.drawPixmap(place.topLeft(), window.grab())
        painter.setPen(QColor("#808080"))
        painter.drawRect(place.adjusted(0, -TITLE, -1, -1))
    painter.end()
    return image


def main() -> None:
    """Become Electrum."""
    address, program = sys.argv[1:3]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    hand = Hand(connection)
    sys.argv = [program, *sys.argv[3:]]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")
    del hand


if __name__ == "__main__":
    main()
