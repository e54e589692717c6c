"""Names of keys in PKCS#11 tokens: URIs of RFC 7512. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from urllib.parse import quote, unquote_to_bytes

from hwilib_cryptnox.errors import BadRequestError

SCHEME = "pkcs11:"
_UNRESERVED = "-._~"
_PATH_LETTERS, _QUERY_LETTERS = ":[]@!$'()*+,=&", ":[]@!$'()*+,=/?|"
"""What may stand as it is besides letters, digits and `_UNRESERVED` (RFC 7512, section 2.3)."""
_TYPES = ("private", "public", "cert")
"""A key pair may be named by each of its objects."""
_SECRET = ("pin-value", "pin-source")
_MOST = 2048
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Which key, in which token, by which module. None: any. Text is compared as a whole, as RFC 7512 wants it."""

    token: str | None = None
    """The token's label."""
    manufacturer: str | None = None
    serial: str | None = None
    """Of the token."""
    model: str | None = None
    object: str | None = None
    """The key's label (CKA_LABEL)."""
    id: bytes | None = None
    """The key's CKA_ID."""
    slot_id: int | None = None
    slot_description: str | None = None
    slot_manufacturer: str | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: str | None = None
    """MAJOR.MINOR, or MAJOR."""
    module_path: str | None = None
    """The module's file."""
    module_name: str | None = None
    """The module's name, without `lib` in front and without its ending."""

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Of its text. Raises: BadRequestError, which never holds a PIN that stands in it."""
        if not text[: len(SCHEME)].lower() == SCHEME:
            raise BadRequestError(f"a PKCS#11 URI begins with {SCHEME}")
        if len(text) > _MOST:
            raise BadRequestError("the PKCS#11 URI is too long")
        path, _, query = text[len(SCHEME) :].partition("?")
        values: dict[str, object] = {}
        for name, value in _attributes(path, ";", _PATH_LETTERS):
            if name == "type":
                if value.decode("utf-8", "replace") not in _TYPES:
                    raise BadRequestError("type in a PKCS#11 URI: private, or the pair's public or cert")
                continue
            if name not in _PATH:
                # A name that is not known names nothing (RFC 7512, section 2.4).
                raise BadRequestError(f"{name} in a PKCS#11 URI names nothing that is known here")
            values[_PATH[name]] = _value(name, value)
        for name, value in _attributes(query, "&", _QUERY_LETTERS):
            if name in _SECRET:
                raise BadRequestError(
                    f"{name} in a PKCS#11 URI is not taken: the token's PIN comes by pinentry or "
                    "CRYPTNOX_APPROVE_PIN_COMMAND"
                )
            if name in _QUERY:
                values[_QUERY[name]] = _value(name, value)
        return replace(cls(), **values)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """In RFC 7512's form."""
        path = ";".join(f"{name}={_written(value)}" for name, value in self._named(_PATH))
        query = "&".join(f"{name}={_written(value, '/')}" for name, value in self._named(_QUERY))
        return f"{SCHEME}{path}{'?' if query else ''}{query}"

    def _named(self, names: dict[str, str]) -> list[tuple[str, str | int | bytes]]:
        values = ((name, getattr(self, place)) for name, place in names.items())
        return [(name, value) for name, value in values if value is not None]


_QUERY = {"module-path": "module_path", "module-name": "module_name"}
_PATH = {one.name.replace("_", "-"): one.name for one in fields(TokenUri)}
_PATH = {name: place for name, place in _PATH.items() if name not in _QUERY}


def _attributes(text: str, separator: str, letters: str) -> list[tuple[str, bytes]]:
    """Names and values of one part of a URI."""
    found: dict[str, bytes] = {}
    for piece in text.split(separator) if text else ():
        name, equals, value = piece.partition("=")
        if not equals or not re.fullmatch(r"[a-z0-9_-]+", name):
            raise BadRequestError("a PKCS#11 URI is made of NAME=VALUE")
        if name in found:
            raise BadRequestError(f"{name} is in the PKCS#11 URI twice")
        if _ESCAPE.search(value):
            raise BadRequestError(f"{name} in the PKCS#11 URI: give two hexadecimal digits after %")
        bad = [letter for letter in value if not _as_it_is(letter, letters)]
        if bad and name not in _SECRET:
            code = quote(bad[0])
            raise BadRequestError(f"{name} in the PKCS#11 URI: write {code} for {bad[0]!r}")
        found[name] = unquote_to_bytes(value)
    return list(found.items())


def _as_it_is(letter: str, letters: str) -> bool:
    return (letter.isascii() and letter.isalnum()) or letter in _UNRESERVED + "%" or letter in letters


def _value(name: str, value: bytes) -> str | int | bytes:
    if name == "id":
        if not value:
            raise BadRequestError("id in the PKCS#11 URI is empty")
        return value
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{name} in the PKCS#11 URI is not UTF-8 text") from error
    if not text.isprintable() or not text:
        raise BadRequestError(f"{name} in the PKCS#11 URI is empty, or holds control characters")
    if name != "slot-id":
        return text
    if not (text.isascii() and text.isdecimal()):
        raise BadRequestError("slot-id in the PKCS#11 URI is not a number")
    return int(text)


def _written(value: str | int | bytes, more: str = "") -> str:
    if isinstance(value, bytes):
        return "".join(f"%{byte:02X}" for byte in value)
    return quote(str(value), safe=_UNRESERVED + more)
