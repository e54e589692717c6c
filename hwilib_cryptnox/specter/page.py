"""Specter's pages as they leave: those with its dialogs for devices get a script of this extension. On its
own because it can be tried without Specter and flask. Pure."""

from __future__ import annotations

from html import escape

_DIALOG = b'id="hwi_passphrase"'
"""Of Specter's dialog for a device's passphrase."""
_END = b"</body>"


def with_script(page: bytes, address: str) -> bytes:
    """The page with the script at its end, behind Specter's own; the same bytes where it has no such dialog."""
    head, end, tail = page.rpartition(_END)
    if _DIALOG not in head or not end:
        return page
    return b'%s<script src="%s"></script>\n%s%s' % (head, escape(address).encode("ascii"), end, tail)
