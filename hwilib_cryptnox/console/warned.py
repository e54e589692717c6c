"""Warnings that wait until the answer is out."""

from __future__ import annotations

import logging


class Warnings(logging.Handler):
    """Puts the warnings of this package into `texts` while it is entered."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._texts.append(record.getMessage())

    def __enter__(self) -> Warnings:
        logging.getLogger("hwilib_cryptnox").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("hwilib_cryptnox").removeHandler(self)
