"""Definitions of the Cryptnox applet's wire format (generation G1, applet 1.6.x): numbers only, no logic.

The client and the emulated card share this module and nothing else.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

AID = bytes.fromhex("A0000010000112")
COMMON_PAIRING_KEY = b"Cryptnox Basic CommonPairingData"
"""The pairing key every card starts with in the vendor's tools. It is public; it protects nothing."""

CARD_TYPE_BASIC = ord("B")
CARD_TYPE_NFT = ord("N")


class Cla(IntEnum):
    """Class bytes."""

    ISO = 0x00
    APPLET = 0x80


class Ins(IntEnum):
    """Instruction bytes."""

    OPEN_SECURE_CHANNEL = 0x10
    MUTUALLY_AUTHENTICATE = 0x11
    VERIFY_PIN = 0x20
    CHANGE_SECRET = 0x21
    UNBLOCK_PIN = 0x22
    SELECT = 0xA4
    SIGN = 0xC0
    SET_PINLESS_PATH = 0xC1
    GET_PUBLIC_KEY = 0xC2
    SET_PIN_AUTH = 0xC3
    DECRYPT = 0xC4
    SET_PUB_EXPORT = 0xC5
    SIGN_PUBLIC = 0xC6
    NONCE_GEN = 0xC7
    MUSIG2 = 0xC8
    """LOAD COSIGNER KEY with P1 = 01, PARTIAL SIGN with 02."""
    LOAD_KEY = 0xD0
    DERIVE_KEY = 0xD1
    GENERATE_RANDOM = 0xD3
    GENERATE_KEY = 0xD4
    ADD_USER_KEY = 0xD5
    CHECK_USER_KEY = 0xD6
    DELETE_USER_KEY = 0xD7
    CHANGE_PAIRING_KEY = 0xDA
    GET_CARD_PUBLIC_KEY = 0xF4
    GET_MANUFACTURER_CERTIFICATE = 0xF7
    GET_CARD_CERTIFICATE = 0xF8
    """In the clear: card certificate. In the channel with P1 = 01 on an NFT card: SIGNATURE CHECK."""
    GENERATE_SEED_WRAP_KEY = 0xF9
    READ_DATA = 0xFA
    GET_HISTORY = 0xFB
    WRITE_DATA = 0xFC
    RESET = 0xFD
    INIT = 0xFE


class Sw(IntEnum):
    """Status words. 63Cx and 984x carry a count in the low four bits."""

    OK = 0x9000
    TRIES_LEFT = 0x63C0
    WRONG_LENGTH = 0x6700
    SECURITY_STATUS = 0x6982
    """In the clear: the secure channel was aborted."""
    AUTH_BLOCKED = 0x6983
    DATA_INVALID = 0x6984
    CONDITIONS = 0x6985
    NOT_ALLOWED = 0x6986
    WRONG_DATA = 0x6A80
    FILE_NOT_FOUND = 0x6A82
    WRONG_P1P2 = 0x6A86
    REFERENCED_DATA_NOT_FOUND = 0x6A88
    WRONG_PARAMETERS = 0x6B00
    INS_NOT_SUPPORTED = 0x6D00
    CLA_NOT_SUPPORTED = 0x6E00
    UNKNOWN = 0x6F00
    PUK_TRIES_LEFT = 0x9840


class StatusFlag(IntFlag):
    """SELECT response, bytes 4-5."""

    CLEAR_PUBKEY = 1 << 1
    XPUB_EXPORT = 1 << 2
    PINLESS_PATH = 1 << 3
    PIN_AUTH = 1 << 4
    SEEDED = 1 << 5
    INITIALIZED = 1 << 6
    RESET_DISABLED = 1 << 7
    """From applet 2.0 on; of no known meaning before."""


class UserKeyFlag(IntFlag):
    """SELECT response, bytes 6-7. Bit 3 is skipped."""

    EC = 1 << 0
    RSA = 1 << 1
    FIDO = 1 << 2
    EC4 = 1 << 4
    EC5 = 1 << 5


class Curve(IntEnum):
    """Bit 4 of P1."""

    K1 = 0x00
    R1 = 0x10


DERIVE_BIT = 0x08
"""Bit 3 of P1 of DERIVE KEY: the vendor's text leaves it out, and every client known to have met a card sets it."""


class Source(IntEnum):
    """Bits 7-6 of P1: from where a path starts."""

    MASTER = 0x00
    PARENT = 0x40
    CURRENT = 0x80


class PubKeyForm(IntEnum):
    """P2 of GET PUBKEY."""

    PATH = 0x00
    PUBLIC_KEY = 0x01
    EXTENDED = 0x02


class KeyUse(IntEnum):
    """Low bits of P1 of GET PUBKEY and SIGN."""

    CURRENT = 0x00
    DERIVE = 0x01
    PINLESS = 0x03


class SignatureKind(IntEnum):
    """P2 of SIGN."""

    ECDSA = 0x00
    ECDSA_EOSIO = 0x01
    SCHNORR = 0x02


class LoadKeyType(IntEnum):
    """P1 of LOAD KEY."""

    KEY_PAIR = 0x01
    EXTENDED_KEY = 0x02
    SEED = 0x03
    DUAL_STEP_1 = 0x04
    DUAL_STEP_2 = 0x05
    WRAPPED_SEED = 0x06


class KeyTag(IntEnum):
    """TLV tags of LOAD KEY types 01 and 02."""

    TEMPLATE = 0xA1
    PUBLIC_KEY = 0x80
    PRIVATE_KEY = 0x81
    CHAIN_CODE = 0x82


class SecretKind(IntEnum):
    """P1 of CHANGE PIN / CHANGE PUK (both are instruction 21)."""

    PIN = 0x00
    PUK = 0x01


class ExportKind(IntEnum):
    """P1 of SET PUB EXPORT."""

    XPUB = 0x00
    CLEAR_PUBLIC_KEY = 0x01


class KeySource(IntEnum):
    """First byte of the card info (READ DATA 00 00)."""

    NONE = 0x00
    SINGLE = ord("K")
    EXTENDED = ord("X")
    LOADED = ord("L")
    ON_CARD = ord("S")
    DUAL = ord("D")
    WRAPPED = ord("R")


class UserKeySlot(IntEnum):
    """Slots of user keys: P-256, RSA-2048, FIDO; two more for P-256 from applet 2.0 on."""

    EC = 1
    RSA = 2
    FIDO = 3
    EC4 = 4
    EC5 = 5


VERSION_2 = (2, 0, 0)
"""The applet with user-key slots 4 and 5 and the flag RESET_DISABLED."""


class CheckUserKeyMode(IntEnum):
    """P1 of CHECK USER KEY."""

    SIGN_HASH = 0x00
    CHALLENGE = 0x01
    RESPONSE = 0x02
    CREDENTIAL_ID = 0x03
    """With P2 = 01."""
    SIGN_HASHES = 0x10


class DecryptMode(IntEnum):
    """P1 of DECRYPT."""

    SYMMETRIC_KEY = 0x00
    DATA = 0x01


PAIRING_INDEX = 0x00
PAIRING_INDEX_PUK = 0xFF
PUK_PAIRING_ROUNDS = 32
"""Index FF: the pairing key is SHA-256 applied this many times to the PUK."""

CARD_CERTIFICATE_TAG = 0x43
CERTIFICATE_NONCE_LENGTH = 8
CARD_CERTIFICATE_SIGNED_LENGTH = 74
"""Tag, nonce and session key: what the card's static key signs."""

P256_POINT_LENGTH = 65
SALT_LENGTH = 32
CHALLENGE_LENGTH = 32
PAIRING_KEY_LENGTH = 32
BLOCK = 16
"""AES block and MAC length."""
FIRST_IV = b"\x01" * 16
"""IV of MUTUALLY AUTHENTICATE."""

CERTIFICATE_FIRST_PAGE = 253
CERTIFICATE_PAGE = 255

PIN_FIELD = 9
PIN_MIN = 4
PIN_MAX = 9
PUK_LENGTH = 12
NAME_MAX = 20
EMAIL_MAX = 60
DIGEST_LENGTH = 32
SCHNORR_LENGTH = 64
MAX_DEPTH = 8
XPUB_MIN_DEPTH = 3
XPUB_LENGTH = 106
XPUB_VERSION = bytes.fromhex("0488B21E")
SEED_MIN = 16
SEED_MAX = 64
RANDOM_MIN = 16
RANDOM_MAX = 64
RANDOM_MULTIPLE = 4
KEY_ID_LENGTH = 32

CUSTOM_BYTES = 16
USER_DATA_PAGES = 3
USER_DATA_PAGE = 1200
NFT_DATA_SLOTS = 4
"""User data of an NFT card: READ and WRITE DATA with P1 = slot + 1, P2 = page, both from 0."""
HISTORY_LENGTH = 149
USER_KEY_TEXT = 64
FIDO_CREDENTIAL_MAX = 64
RSA_MODULUS = 256
RSA_EXPONENT = 65537
FIDO_RP = b"cryptnox.ch"
SIGNATURE_CHECK_NONCE = 16
SIGNATURE_CHECK_MESSAGE = 36
SIGNATURE_CHECK_TAG = b"CR"
MAX_HASHES = 4
MAX_HASHES_FIDO = 3

PIN_TRIES_SESSION = 3
PIN_TRIES_TOTAL = 6
PUK_TRIES_SESSION = 12

NFT_NFC_SIGN_ALLOWED = bytes.fromhex("5A5A")
NFT_NFC_SIGN_DENIED = bytes.fromhex("A5A5")

PINLESS_PREFIX = (43 | 1 << 31, 60 | 1 << 31, 1581 | 1 << 31)
"""m/43'/60'/1581'"""
DECRYPT_PATH = (17 | 1 << 31, 910196630 | 1 << 31, 2006168372 | 1 << 31, 332516148 | 1 << 31, 580566270 | 1 << 31)

MAX_SHORT_DATA = 255
MAX_EXTENDED_DATA = 65535

RELAY_HEADER = 64
"""Length of the ASCII length field of the APDU relay."""
DEFAULT_EMULATOR_HOST = "127.0.0.1"
DEFAULT_EMULATOR_PORT = 9720

MUSIG2_LOAD_KEY = 0x01
MUSIG2_SIGN = 0x02
MUSIG2_MAX_KEYS = 32
