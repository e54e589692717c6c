"""A browser at the other end of a pipe. Runs with the Python that has playwright, which the tests' own has not.

Each line on stdin is a JSON array: the number of a page, the name of a method of playwright's `Page` with dots for
what is inside (`keyboard.press`), or of those below, and its arguments, the last of which may be an object of named
ones. Each line on stdout is a JSON object: `{"result": ...}` or `{"error": text}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

LIMIT = 120_000
"""Milliseconds that a page has to become what is waited for."""


class Pages:
    """The open pages, and what happened in them that no element shows."""

    def __init__(self, browser: Browser) -> None:
        self._context = browser.new_context(viewport={"width": 1100, "height": 760}, locale="en-US")
        self._context.set_default_timeout(LIMIT)
        self._pages: list[Page] = []
        self.console: list[str] = []
        self.dialogs: list[str] = []

    def open(self, _: int) -> int:
        page = self._context.new_page()
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        page.on("dialog", self._dismiss)
        self._pages.append(page)
        return len(self._pages) - 1

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def close(self, number: int) -> None:
        self._pages[number].close()

    def said(self, _: int) -> dict[str, list[str]]:
        """What the pages wrote to their consoles, and their own dialogues, since the last question."""
        answer = {"console": self.console[:], "dialogs": self.dialogs[:]}
        self.console.clear()
        self.dialogs.clear()
        return answer

    def until(self, number: int, condition: str, argument: Any = None) -> Any:
        """Wait until a JavaScript function says something true of the argument; what it says."""
        return self._pages[number].wait_for_function(condition, arg=argument).json_value()

    def call(self, number: int, name: str, arguments: list[Any]) -> Any:
        if name in ("open", "close", "said", "until"):
            return getattr(self, name)(number, *arguments)
        named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        target: Any = self._pages[number]
        for part in name.split("."):
            target = getattr(target, part)
        result = target(*arguments, **named)
        return result if isinstance(result, (str, int, float, bool, list, dict)) else None


def main(chromium: str, *options: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(options))
        pages = Pages(browser)
        print(json.dumps({"result": browser.version}), flush=True)
        for line in sys.stdin:
            number, name, *arguments = json.loads(line)
            try:
                answer = {"result": pages.call(number, name, arguments)}
            except Exception as error:  # noqa: BLE001 - whatever it is, the test at the other end says it
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
        browser.close()


main(*sys.argv[1:])
