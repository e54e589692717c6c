"""What a card can do beside reading keys and signing: life cycle, PIN and PUK, seeds, data, user keys."""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core import secp256k1
from cryptnox_core.bip32 import Path
from cryptnox_core.card_base import CardBase
from cryptnox_core.commands import auth, data, keys, seeds, setup, signing, user_keys
from cryptnox_core.errors import NotFoundError, UsageError
from cryptnox_core.hashes import sha256
from cryptnox_core.models import AppletInfo, CardInfo, HistoryEntry, SignatureCheck, UserKeyInfo
from cryptnox_core.wire import (
    COMMON_PAIRING_KEY,
    HISTORY_LENGTH,
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
    """The part of `Card` that sets a card up and keeps it. Unless a method says otherwise it requires an open channel.

    A wrong PUK is a WrongPukError; a power cycle allows 12 tries, and there is no limit in all.
    """

    # Life cycle

    def init(
        self,
        name: str,
        email: str,
        pin: str,
        puk: str,
        pairing_key: bytes = COMMON_PAIRING_KEY,
        nft_nfc_sign: bool | None = None,
    ) -> AppletInfo:
        """INIT, then SELECT. Needs no channel; the card's session signature is checked before anything is sent.

        Name up to 20 bytes, e-mail 60, PIN 4 to 9 digits, PUK 12 characters, pairing key 32 bytes. `nft_nfc_sign` is
        for NFT cards (there None means False). NotAllowedError: already initialised.
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
        """RESET to the factory state, then SELECT: the channel has ended. NotAllowedError where reset is disabled."""
        self.run(setup.Reset(puk))
        self._keep_pairing_key(COMMON_PAIRING_KEY)
        return self.select()

    def change_pairing_key(self, pairing_key: bytes, puk: str) -> None:
        """CHANGE PAIRING KEY, 32 bytes. It holds from the next channel on; who loses it needs the PUK (index 255)."""
        self.run(setup.ChangePairingKey(pairing_key, puk))
        self._keep_pairing_key(pairing_key)

    def info_page(self) -> CardInfo:
        """Key source, name, e-mail, signature counter."""
        return self.run(data.ReadCardInfo())

    # PIN and PUK

    def change_pin(self, new_pin: str, puk: str | None = None) -> None:
        """CHANGE PIN. Requires: the PIN verified, or the PUK given."""
        self.run(auth.ChangePin(new_pin, puk))

    def change_puk(self, new_puk: str, current_puk: str) -> None:
        """CHANGE PUK."""
        self.run(auth.ChangePuk(new_puk, current_puk))

    def unblock_pin(self, puk: str, new_pin: str) -> None:
        """UNBLOCK PIN with the PUK. NotAllowedError unless the PIN is blocked (not merely locked until power-up)."""
        self.run(auth.UnblockPin(puk, new_pin))

    def set_pin_auth(self, enabled: bool, puk: str) -> None:
        """Switch PIN authentication. NotAllowedError where no user key exists."""
        self.run(auth.SetPinAuth(enabled, puk))
        self._note(StatusFlag.PIN_AUTH, enabled)

    # Seeds. `pin` None only where a user key authenticated. NotAllowedError: there is a seed already.

    def load_seed(self, seed: bytes, pin: str | None) -> None:
        """Load a binary seed of 16 to 64 bytes (BIP39: the 64 made from the words)."""
        self._load(seeds.LoadKey.seed(seed, pin))

    def load_key(
        self, private_key: bytes, pin: str | None, *, chain_code: bytes = b"", public_key: bytes = b""
    ) -> None:
        """Load a single key (32 bytes), or an extended one with its chain code (32); optionally the public key (65)."""
        self._load(seeds.LoadKey.key_pair(private_key, pin, public_key=public_key, chain_code=chain_code))

    def generate_key(self, pin: str | None) -> bytes:
        """Make a seed on the card. Returns the 32-byte id of the master key. Nobody can back this seed up."""
        key_id = self.run(seeds.GenerateKey(pin))
        self._note(StatusFlag.SEEDED, True)
        return key_id

    def dual_seed_start(self, pin: str | None) -> bytes:
        """First step of making one seed on two cards: this card's signed public key, for the other card."""
        return self.run(seeds.LoadKey(LoadKeyType.DUAL_STEP_1, b"", pin))

    def dual_seed_finish(self, other: bytes, pin: str | None) -> None:
        """Second step, with what `dual_seed_start` returned on the other card. Do it on both."""
        self._load(seeds.LoadKey(LoadKeyType.DUAL_STEP_2, other, pin))

    def generate_seed_wrap_key(self, bits: int = 2048) -> bytes:
        """Make an RSA key to wrap a seed with. NotSupportedError where the applet has none."""
        return self.run(seeds.GenerateSeedWrapKey(bits))

    def load_wrapped_seed(self, wrapped: bytes, pin: str | None) -> None:
        """Load a seed encrypted to the key of `generate_seed_wrap_key`."""
        self._load(seeds.LoadKey(LoadKeyType.WRAPPED_SEED, wrapped, pin))

    def _load(self, command: seeds.LoadKey) -> None:
        self.run(command)
        self._note(StatusFlag.SEEDED, True)
        self._note(StatusFlag.PINLESS_PATH, False)

    def random_bytes(self, size: int) -> bytes:
        """Random bytes of the card, 16 to 64, a multiple of 4."""
        return self.run(seeds.GenerateRandom(size))

    # Switches. They need a seed and the PUK.

    def set_xpub_export(self, on: bool, puk: str) -> None:
        """Allow or forbid reading extended public keys."""
        self.run(keys.SetPubExport(ExportKind.XPUB, on, puk))
        self._note(StatusFlag.XPUB_EXPORT, on)

    def set_clear_public_key(self, on: bool, puk: str) -> None:
        """Allow or forbid reading the current public key without channel and PIN."""
        self.run(keys.SetPubExport(ExportKind.CLEAR_PUBLIC_KEY, on, puk))
        self._note(StatusFlag.CLEAR_PUBKEY, on)

    def set_pinless_path(self, path: Path | None, puk: str) -> None:
        """Set the path under m/43h/60h/1581h whose key signs without PIN, or clear it with None."""
        self.run(keys.SetPinlessPath(path, puk))
        self._note(StatusFlag.PINLESS_PATH, path is not None)

    # Other uses of the keys

    def sign_public(self, curve: Curve = Curve.K1) -> bytes:
        """SIGN PUBLIC: the card's certificate of its current public key, as it sends it."""
        return self.run(signing.SignPublic(curve))

    def decryption_key(self, point: bytes, pin: str | None) -> bytes:
        """IV (16 bytes) and AES-128 key (16) shared with the owner of `point` (P-256, 65 bytes)."""
        return self.run(signing.Decrypt(point, pin))

    def decrypt(self, point: bytes, ciphertext: bytes, pin: str | None) -> bytes:
        """The plaintext of whole AES blocks encrypted under `decryption_key`."""
        return self.run(signing.Decrypt(point, pin, ciphertext))

    def signature_check(self, public_key: bytes | None = None, nonce: bytes | None = None) -> SignatureCheck:
        """NFT: have the card sign a nonce of 16 bytes, to show that it holds its key. Not counted as a signature.

        With `public_key` (33 or 65 bytes) the signature over SHA-256 of the message is verified; BadSignatureError.
        """
        check = self.run(signing.CheckSignature(self._random(SIGNATURE_CHECK_NONCE) if nonce is None else nonce))
        if public_key is not None:
            signing.verified_signature(check.signature, sha256(check.message), secp256k1.compress(public_key))
        return check

    # Data

    def read_user_data(self) -> bytes:
        """The user data, up to 3600 bytes, of all pages in use."""
        content = b""
        for page in range(USER_DATA_PAGES):
            piece = self._read_page(page)
            content += piece
            if len(piece) < USER_DATA_PAGE:
                break
        return content

    def write_user_data(self, content: bytes) -> None:
        """Replace the user data by 1 to 3600 bytes. Requires: the PIN verified. Only a reset makes it empty again."""
        if not 1 <= len(content) <= USER_DATA_MAX:
            raise UsageError(f"the card holds 1 to {USER_DATA_MAX} bytes of user data, not {len(content)}")
        used = -(-len(content) // USER_DATA_PAGE)
        for page in range(used):
            self.run(data.WriteUserData(page, content[page * USER_DATA_PAGE : (page + 1) * USER_DATA_PAGE]))
        # What was longer before would otherwise be read as a continuation of full pages.
        for page in range(used, USER_DATA_PAGES):
            if self._read_page(page):
                self.run(data.WriteUserData(page, b""))

    def _read_page(self, page: int) -> bytes:
        try:
            return self.run(data.ReadUserData(page))
        except NotFoundError:
            return b""

    def write_custom_bytes(self, content: bytes) -> None:
        """Write the 16 public bytes that every SELECT shows. Requires: the PIN verified."""
        self.run(data.WriteCustomBytes(content))

    def history(self, limit: int = HISTORY_LENGTH) -> list[HistoryEntry]:
        """The latest signatures, newest first, at most 149. One APDU an entry. Requires: the PIN verified."""
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
        """Store a user key. Verify the PIN first: some cards want it. NotAllowedError: the slot is taken."""
        self.run(user_keys.AddUserKey(slot, text, public_key, puk, credential_id))

    def delete_user_key(self, slot: UserKeySlot, puk: str) -> None:
        """Remove a user key. NotFoundError: the slot is empty."""
        self.run(user_keys.DeleteUserKey(slot, puk))

    def user_key(self, slot: UserKeySlot) -> UserKeyInfo:
        """Text and key of a slot. NotFoundError: the slot is empty."""
        return self.run(user_keys.ReadUserKey(slot))

    def user_key_challenge(self) -> bytes:
        """32 random bytes for a user key to sign (see `user_keys.digest_to_sign`)."""
        return self.run(user_keys.UserKeyChallenge())

    def user_key_respond(self, slot: UserKeySlot, signature: bytes) -> bool:
        """The signature over the challenge. True: authenticated as by the PIN, but for SIGN."""
        return self.run(user_keys.UserKeyResponse(slot, signature))

    def authorize_digest(self, slot: UserKeySlot, digest: bytes, signature: bytes) -> bool:
        """Unlock SIGN (with `pin` None) for one digest by a user key's signature over it. False: refused."""
        return self.run(user_keys.AuthorizeHashes(slot, (digest,), signature))

    def authorize_digests(self, slot: UserKeySlot, digests: Sequence[bytes], signature: bytes) -> bool:
        """The same for up to 4 digests (FIDO 3) under one signature over all of them."""
        return self.run(user_keys.AuthorizeHashes(slot, tuple(digests), signature, as_list=True))

    def fido_credential_id(self) -> bytes:
        """The credential id of the FIDO slot."""
        return self.run(user_keys.FidoCredentialId())
