"""What a card can do beside reading keys and signing: life cycle, PIN and PUK, seeds, data, user keys."""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core.arguments import member, number, octets
from cryptnox_core.bip32 import Path
from cryptnox_core.card_base import CardBase
from cryptnox_core.card_keys import known_key
from cryptnox_core.commands import auth, data, keys, seeds, setup, signing, user_keys
from cryptnox_core.crypto.hashes import sha256
from cryptnox_core.errors import NotFoundError, UsageError
from cryptnox_core.models import AppletInfo, CardInfo, HistoryEntry, SignatureCheck, UserKeyInfo
from cryptnox_core.wire import (
    COMMON_PAIRING_KEY,
    CUSTOM_BYTES,
    HISTORY_LENGTH,
    NFT_DATA_SLOTS,
    SIGNATURE_CHECK_NONCE,
    USER_DATA_PAGE,
    USER_DATA_PAGES,
    Curve,
    ExportKind,
    LoadKeyType,
    StatusFlag,
    UserKeySlot,
)

USER_DATA_MAX = USER_DATA_PAGE * USER_DATA_PAGES


class CardAdmin(CardBase):
    """The part of `Card` that sets a card up and keeps it.

    Secrets that could be taken for one another are given by name.
    Unless a method says otherwise:
    Requires: channel open.
    Raises: UsageError before anything is sent; WrongPukError for a wrong PUK. A power cycle allows 12 tries of it, and
    there is no limit in all.
    """

    # Life cycle

    def init(
        self,
        name: str,
        email: str,
        *,
        pin: str,
        puk: str,
        pairing_key: bytes = COMMON_PAIRING_KEY,
        nft_nfc_sign: bool | None = None,
    ) -> AppletInfo:
        """Set up a card as it comes from the factory: INIT, then SELECT.

        `name`: up to 20 bytes, `email` 60. `pin`: 4 to 9 digits. `puk`: 12 ASCII characters. `pairing_key`: 32 bytes.
        `nft_nfc_sign`: for NFT cards alone, there None means False.
        Requires: no channel. The card's session signature is checked before anything is sent.
        Raises: NotAllowedError where the card is initialised already; CertificateError.
        """
        parameters = setup.InitParameters(name, email, pin, puk, pairing_key, nft_nfc_sign)
        parameters.encode()
        session_key = self.session_key()
        if self.info.is_nft:
            parameters = setup.InitParameters(name, email, pin, puk, pairing_key, bool(nft_nfc_sign))
        elif nft_nfc_sign is not None:
            raise UsageError("signing over NFC is chosen for NFT cards only")
        self.run(setup.Init.seal(parameters, session_key, self._random))
        self._keep_pairing_key(pairing_key)
        return self.select()

    def reset(self, puk: str) -> AppletInfo:
        """Erase everything: RESET, then SELECT. The channel has ended.

        Raises: NotAllowedError where reset is disabled (`info.reset_disabled` says so from applet 2.0 on).
        """
        self.run(setup.Reset(puk))
        self._keep_pairing_key(COMMON_PAIRING_KEY)
        return self.select()

    def change_pairing_key(self, pairing_key: bytes, *, puk: str) -> None:
        """Give the card another pairing key, 32 bytes, from the next channel on.

        Who loses it needs the PUK: `open_channel(pairing_key_from_puk(puk), index=255)`.
        """
        self.run(setup.ChangePairingKey(pairing_key, puk))
        self._keep_pairing_key(pairing_key)

    def info_page(self) -> CardInfo:
        """Key source, name, e-mail, signature counter."""
        return self.run(data.ReadCardInfo())

    # PIN and PUK

    def change_pin(self, new_pin: str, *, puk: str | None = None) -> None:
        """Set another PIN, 4 to 9 digits.

        Requires: the PIN verified, or the PUK given.
        """
        self.run(auth.ChangePin(new_pin, puk))

    def change_puk(self, *, new: str, current: str) -> None:
        """Set another PUK, 12 ASCII characters."""
        self.run(auth.ChangePuk(new, current))

    def unblock_pin(self, *, puk: str, new_pin: str) -> None:
        """Set another PIN on a card whose PIN is blocked.

        Raises: NotAllowedError unless it is blocked for good, not merely locked until power-up.
        """
        self.run(auth.UnblockPin(puk, new_pin))

    def set_pin_auth(self, enabled: bool, puk: str) -> None:
        """Switch PIN authentication.

        Raises: NotAllowedError where no user key exists.
        """
        self.run(auth.SetPinAuth(enabled, puk))
        self._note(StatusFlag.PIN_AUTH, enabled)

    # Seeds. `pin` None only where a user key authenticated. NotAllowedError: there is a seed already.

    def load_seed(self, seed: bytes, pin: str | None) -> None:
        """Load a binary seed of 16 to 64 bytes (BIP39: the 64 made from the words).

        Raises: NotAllowedError where there is a seed already; WrongPinError.
        """
        self._load(seeds.LoadKey.seed(seed, pin))

    def load_key(
        self, private_key: bytes, pin: str | None, *, chain_code: bytes = b"", public_key: bytes = b""
    ) -> None:
        """Load a single key (32 bytes), or an extended one with its chain code (32); optionally the public key (65).

        Raises: NotAllowedError where there is a seed already; WrongPinError.
        """
        self._load(seeds.LoadKey.key_pair(private_key, pin, public_key=public_key, chain_code=chain_code))

    def generate_key(self, pin: str | None) -> bytes:
        """Make a seed on the card. Nobody can back this seed up.

        Returns the 32-byte id of the master key, or nothing where the card does not tell it.
        Raises: NotAllowedError where there is a seed already; WrongPinError.
        """
        key_id = self.run(seeds.GenerateKey(pin))
        self._has_new_key()
        return key_id

    def dual_seed_start(self, pin: str | None) -> bytes:
        """First step of making one seed on two cards: this card's signed public key, for the other card."""
        return self.run(seeds.LoadKey(LoadKeyType.DUAL_STEP_1, b"", pin))

    def dual_seed_finish(self, other: bytes, pin: str | None) -> None:
        """Second step, with what `dual_seed_start` returned on the other card. Do it on both."""
        self._load(seeds.LoadKey(LoadKeyType.DUAL_STEP_2, other, pin))

    def generate_seed_wrap_key(self, bits: int = 2048) -> bytes:
        """Make an RSA key to wrap a seed with, and return its public part as the card sends it.

        Raises: NotSupportedError where the applet has none.
        """
        return self.run(seeds.GenerateSeedWrapKey(bits))

    def load_wrapped_seed(self, wrapped: bytes, pin: str | None) -> None:
        """Load a seed encrypted to the key of `generate_seed_wrap_key`."""
        self._load(seeds.LoadKey(LoadKeyType.WRAPPED_SEED, wrapped, pin))

    def _load(self, command: seeds.LoadKey) -> None:
        self.run(command)
        self._has_new_key()

    def _has_new_key(self) -> None:
        self._note(StatusFlag.SEEDED, True)
        self._note(StatusFlag.PINLESS_PATH, False)

    def random_bytes(self, size: int) -> bytes:
        """Random bytes of the card, 16 to 64, a multiple of 4."""
        return self.run(seeds.GenerateRandom(size))

    # Switches

    def set_xpub_export(self, on: bool, puk: str) -> None:
        """Allow or forbid reading extended public keys.

        Requires: a seed on the card.
        """
        self.run(keys.SetPubExport(ExportKind.XPUB, on, puk))
        self._note(StatusFlag.XPUB_EXPORT, on)

    def set_clear_public_key(self, on: bool, puk: str) -> None:
        """Allow or forbid reading the current public key without channel and PIN.

        Requires: a seed on the card.
        """
        self.run(keys.SetPubExport(ExportKind.CLEAR_PUBLIC_KEY, on, puk))
        self._note(StatusFlag.CLEAR_PUBKEY, on)

    def set_pinless_path(self, path: Path | str | None, puk: str) -> None:
        """Set the path under m/43h/60h/1581h whose key signs without PIN, or clear it with None.

        Requires: a seed on the card.
        """
        try:
            at = None if path is None else Path.of(path)
        except UsageError:  # it says what was given: where the two were swapped, the PUK
            raise UsageError(
                "the pin-less path is no derivation path like m/43h/60h/1581h/0; the PUK goes second"
            ) from None
        self.run(keys.SetPinlessPath(at, puk))
        self._note(StatusFlag.PINLESS_PATH, path is not None)

    # Other uses of the keys

    def sign_public(self, curve: Curve = Curve.K1) -> bytes:
        """The card's certificate of its current public key: a DER signature by its static key.

        It is over the key's 65 bytes, with SHA-256: `certificate.verify(card.public_key(compressed=False), signature)`.
        Requires: PIN verified, a seed on the card.
        """
        return self.run(signing.SignPublic(member(Curve, curve, "curve")))

    def decryption_key(self, point: bytes, pin: str | None) -> bytes:
        """IV (16 bytes) and AES-128 key (16) shared with the owner of `point` (P-256, 65 bytes)."""
        return self.run(signing.Decrypt(point, pin))

    def decrypt(self, point: bytes, ciphertext: bytes, pin: str | None) -> bytes:
        """The plaintext of whole AES blocks encrypted under `decryption_key`."""
        return self.run(signing.Decrypt(point, pin, octets(ciphertext, "a ciphertext")))

    def signature_check(self, public_key: bytes | None = None, nonce: bytes | None = None) -> SignatureCheck:
        """NFT: have the card sign a nonce of 16 bytes, to show that it holds its key. Not counted as a signature.

        With `public_key` (33 or 65 bytes) the signature over SHA-256 of the message is verified.
        Raises: BadSignatureError.
        """
        key = None if public_key is None else known_key(public_key, Curve.K1)
        check = self.run(signing.CheckSignature(self._random(SIGNATURE_CHECK_NONCE) if nonce is None else nonce))
        if key is not None:
            signing.verified_signature(check.signature, sha256(check.message), key)
        return check

    # Data

    def read_user_data(self, slot: int = 0) -> bytes:
        """The user data, up to 3600 bytes, of all pages in use.

        `slot`: 0 to 3 on NFT cards; others have slot 0 alone.
        Requires: the PIN verified.
        """
        nft_slot = self._data_slot(slot)
        content = b""
        for page in range(USER_DATA_PAGES):
            piece = self._read_page(page, nft_slot)
            content += piece
            if len(piece) < USER_DATA_PAGE:
                break
        return content

    def write_user_data(self, content: bytes, slot: int = 0) -> None:
        """Replace the user data by 1 to 3600 bytes. Only a reset makes it empty again.

        `slot`: 0 to 3 on NFT cards; others have slot 0 alone.
        Requires: the PIN verified.
        """
        nft_slot, content = self._data_slot(slot), octets(content, "user data")
        if not 1 <= len(content) <= USER_DATA_MAX:
            raise UsageError(f"the card holds 1 to {USER_DATA_MAX} bytes of user data, not {len(content)}")
        if nft_slot == 0 and len(content) == CUSTOM_BYTES:
            raise UsageError(f"an NFT card may take {CUSTOM_BYTES} bytes in slot 0 for its custom bytes: add one")
        used = -(-len(content) // USER_DATA_PAGE)
        for page in range(used):
            piece = content[page * USER_DATA_PAGE : (page + 1) * USER_DATA_PAGE]
            self.run(data.WriteUserData(page, piece, nft_slot))
        # What was longer before would be read as a continuation of a full page, and of none other.
        if len(content) == used * USER_DATA_PAGE and used < USER_DATA_PAGES and self._read_page(used, nft_slot):
            self.run(data.WriteUserData(used, b"", nft_slot))

    def _data_slot(self, slot: int) -> int | None:
        """The slot on an NFT card; None on others."""
        number(slot, "a slot")
        if self.info.is_nft:
            if not 0 <= slot < NFT_DATA_SLOTS:
                raise UsageError(f"an NFT card has {NFT_DATA_SLOTS} slots of user data, from 0")
            return slot
        if slot:
            raise UsageError("only NFT cards have more than slot 0 of user data")
        return None

    def _read_page(self, page: int, nft_slot: int | None) -> bytes:
        try:
            return self.run(data.ReadUserData(page, nft_slot))
        except NotFoundError:
            return b""

    def write_custom_bytes(self, content: bytes) -> None:
        """Write the 16 public bytes that every SELECT shows.

        Requires: the PIN verified.
        Raises: UsageError on NFT cards, whose user data is written with the same command.
        """
        if self.info.is_nft:
            raise UsageError("an NFT card takes what is written to the custom bytes for user data: nothing was sent")
        self.run(data.WriteCustomBytes(content))
        self._note_custom(bytes(content))

    def history(self, limit: int = HISTORY_LENGTH) -> list[HistoryEntry]:
        """The latest signatures, newest first: how many, 1 to 149. One APDU an entry.

        Requires: the PIN verified.
        """
        if number(limit, "the number of entries") < 1:
            raise UsageError("history takes how many of the latest signatures are wanted; history(1) is the newest one")
        entries = []
        for slot in range(min(limit, HISTORY_LENGTH)):
            try:
                entry = self.run(data.GetHistory(slot))
            except NotFoundError:
                break
            if entry is None:
                break
            entries.append(entry)
        return entries

    # User keys

    def add_user_key(
        self, slot: UserKeySlot, text: str, public_key: bytes, puk: str, *, credential_id: bytes = b""
    ) -> None:
        """Store a user key under a text of up to 64 bytes.

        `public_key`: P-256 point, 65 bytes; slot RSA: modulus, 256 bytes. `credential_id`: 1 to 64 bytes, for FIDO.
        Requires: the PIN verified first: some cards want it.
        Raises: NotAllowedError where the slot is taken.
        """
        slot = self._key_slot(slot)
        self.run(user_keys.AddUserKey(slot, text, public_key, puk, credential_id))
        self._note_user_key(slot, True)

    def delete_user_key(self, slot: UserKeySlot, puk: str) -> None:
        """Remove a user key.

        Raises: NotFoundError where the slot is empty.
        """
        slot = self._key_slot(slot)
        self.run(user_keys.DeleteUserKey(slot, puk))
        self._note_user_key(slot, False)

    def user_key(self, slot: UserKeySlot) -> UserKeyInfo:
        """Text and key of a slot.

        Requires: the PIN verified.
        Raises: NotFoundError where the slot is empty.
        """
        return self.run(user_keys.ReadUserKey(self._key_slot(slot)))

    def user_key_challenge(self) -> bytes:
        """32 random bytes for a user key to sign (see `user_keys.message_to_sign`)."""
        return self.run(user_keys.UserKeyChallenge())

    def user_key_respond(self, slot: UserKeySlot, signature: bytes) -> bool:
        """Hand in the signature over the challenge. True: authenticated as by the PIN, but for SIGN.

        Requires: `user_key_challenge` before, once for each answer.
        """
        return self.run(user_keys.UserKeyResponse(self._key_slot(slot), signature))

    def authorize_digest(self, slot: UserKeySlot, digest: bytes, signature: bytes) -> bool:
        """Unlock SIGN (with `pin` None) for one digest by a user key's signature over it. False: refused."""
        return self.run(user_keys.AuthorizeHashes(self._key_slot(slot), (digest,), signature))

    def authorize_digests(self, slot: UserKeySlot, digests: Sequence[bytes], signature: bytes) -> bool:
        """The same for up to 4 digests (FIDO 3) under one signature over all of them, to be signed in this order."""
        if not isinstance(digests, Sequence) or isinstance(digests, bytes | bytearray | memoryview | str):
            raise UsageError("several digests are a list of them")
        return self.run(user_keys.AuthorizeHashes(self._key_slot(slot), tuple(digests), signature, as_list=True))

    def fido_credential_id(self) -> bytes:
        """The credential id of the FIDO slot.

        Raises: NotFoundError where the slot is empty.
        """
        return self.run(user_keys.FidoCredentialId())

    def _key_slot(self, slot: UserKeySlot) -> UserKeySlot:
        """A slot that this applet has."""
        slot = member(UserKeySlot, slot, "slot")
        if slot not in self.info.user_key_slots:
            raise UsageError(f"there is no user-key slot {slot.value} before applet 2.0")
        return slot
