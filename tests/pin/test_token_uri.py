"""`pin/token_uri`: URIs of RFC 7512."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.pin.token_uri import TokenUri

SAYS = st.text("aZ09-._~ #%;?&=/|é€😀'", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        # The examples of RFC 7512, section 3, that name a key without a PIN.
        ("pkcs11:", TokenUri()),
        ("pkcs11:object=my-pubkey;type=public", TokenUri(object="my-pubkey")),
        (
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
            "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=",
            None,
        ),
        (
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
            "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91",
            TokenUri(
                token="The Software PKCS#11 Softtoken",
                manufacturer="Snake Oil, Inc.",
                model="1.0",
                object="my-certificate",
                id=bytes.fromhex("69953e5cf4bdec91"),
            ),
        ),
        (
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;"
            "library-version=1.23",
            TokenUri(
                library_manufacturer="Snake Oil, Inc.", library_description="Soft Token Library", library_version="1.23"
            ),
        ),
        ("pkcs11:slot-description=Sun%20Metaslot", TokenUri(slot_description="Sun Metaslot")),
        (
            "pkcs11:object=my-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            TokenUri(object="my-key", module_path="/mnt/libmypkcs11.so.1"),
        ),
        ("pkcs11:slot-id=327?module-name=snakeoil", TokenUri(slot_id=327, module_name="snakeoil")),
        # What a query says beside is ignored, also a vendor's own (section 2.4).
        ("pkcs11:token=A?x-library-path=/tmp/x&module-name=opensc", TokenUri(token="A", module_name="opensc")),
        ("PKCS11:token=A", TokenUri(token="A")),
    ],
)
def test_parsed(text: str, uri: TokenUri | None) -> None:
    if uri is None:
        with pytest.raises(BadRequestError):
            TokenUri.parse(text)
        return
    parsed = TokenUri.parse(text)
    assert parsed == uri
    assert TokenUri.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pkcs11", "begins with"),
        ("token=A", "begins with"),
        ("pkcs11:token", "NAME=VALUE"),
        ("pkcs11:Token=A", "NAME=VALUE"),
        ("pkcs11:token=A;", "NAME=VALUE"),
        ("pkcs11:token=A;token=B", "twice"),
        ("pkcs11:token=A%2", "two hexadecimal digits"),
        ("pkcs11:token=A%zz", "two hexadecimal digits"),
        ("pkcs11:token=my token", "%20"),
        ("pkcs11:token=a/b", "write"),
        ("pkcs11:token=%00", "control characters"),
        ("pkcs11:token=%0A", "control characters"),
        ("pkcs11:token=%E2%80%AE", "control characters"),
        ("pkcs11:token=%ff", "not UTF-8"),
        ("pkcs11:token=", "empty"),
        ("pkcs11:id=", "empty"),
        ("pkcs11:slot-id=-1", "not a number"),
        ("pkcs11:type=secret-key", "private"),
        ("pkcs11:x-vend=1", "names nothing"),
        ("pkcs11:token=" + "A" * 3000, "too long"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(BadRequestError, match=reason):
        TokenUri.parse(text)


@pytest.mark.parametrize(
    "part", ["pin-value=the secret", "pin-value=4711", "pin-source=file:/etc/4711", "pin-source=|4711"]
)
def test_no_pin_in_a_uri(part: str) -> None:
    with pytest.raises(BadRequestError, match="CRYPTNOX_APPROVE_PIN_COMMAND") as caught:
        TokenUri.parse(f"pkcs11:token=A?{part}")
    assert "4711" not in str(caught.value)
    assert "secret" not in str(caught.value)


@given(
    st.builds(
        TokenUri,
        token=st.none() | SAYS,
        serial=st.none() | SAYS,
        object=st.none() | SAYS,
        id=st.none() | st.binary(min_size=1, max_size=20),
        slot_id=st.none() | st.integers(0, 2**64),
        module_path=st.none() | SAYS,
    )
)
def test_what_is_written_is_read_again(uri: TokenUri) -> None:
    assert TokenUri.parse(str(uri)) == uri


@given(st.text(max_size=60))
def test_anything(text: str) -> None:
    """It is a URI, or a BadRequestError."""
    with contextlib.suppress(BadRequestError):
        TokenUri.parse(f"pkcs11:{text}")
