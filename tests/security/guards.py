"""The checks that SECURITY.md's promises rest on, and the test that notices when one is gone.

`test_guards.py` takes each away in a copy of the project and runs its test, which has to fail.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """One check."""

    name: str
    file: str
    code: str
    """What stands in the file, exactly once."""
    without: str
    """What stands there instead when the check is gone."""
    test: str


CHANNEL = "cryptnox_core/secure_channel.py"
CARD = "cryptnox_core/session.py"
CERTIFICATE = "cryptnox_core/certificate.py"
PCSC = "cryptnox_core/pcsc.py"
UNLOCK = "hwilib_cryptnox/unlock.py"
PLAN = "hwilib_cryptnox/psbt/plan.py"
AMOUNTS = "hwilib_cryptnox/psbt/amounts.py"
CHANGE = "hwilib_cryptnox/psbt/change.py"
CODEC = "hwilib_cryptnox/psbt/codec.py"
SIGHASH = "hwilib_cryptnox/psbt/sighash.py"
CHECKS = "hwilib_cryptnox/psbt/checks.py"
FILES = "hwilib_cryptnox/private_files.py"
PIN = "hwilib_cryptnox/pin.py"
PINS = "tests/hwi/test_pin_accounting.py"
POLICY = "tests/psbt/test_policy.py"
CHANGES = "tests/psbt/test_change.py"
LIES = "tests/psbt/test_dishonest.py::test_refused"
SIGNING = "tests/psbt/test_signing.py"
READER = "tests/interop/test_client_pcsc.py"
STATE = "tests/security/test_state_folder.py"
MEMORY = "hwilib_cryptnox/memory.py"
MESSAGE = "hwilib_cryptnox/psbt/message.py"
LOG = "hwilib_cryptnox/signature_log.py"
REMEMBERED = "tests/hwi/test_memory.py"
TOLD = "tests/psbt/test_message.py"
PROVISION = "hwilib_cryptnox/ctl/provision.py"
SETUP = "tests/ctl/test_setup.py"

GUARDS = (
    # The card and the channel
    Guard(
        "MAC of every answer",
        CHANNEL,
        "if not hmac.compare_digest(mac, expected):",
        "if False:",
        "tests/core/test_secure_channel.py::test_any_changed_byte_is_a_bad_mac",
    ),
    Guard(
        "no status word in the clear is believed",
        CHANNEL,
        "        if not response.ok:\n            raise ChannelAbortedError",
        "        if not response.ok:\n            return response\n            raise ChannelAbortedError",
        "tests/core/test_secure_channel.py::test_a_status_word_in_the_clear",
    ),
    Guard(
        "a broken channel stays closed",
        CHANNEL,
        "        self._state = ChannelState.FAILED\n        self._keys = None\n",
        "        return\n",
        "tests/core/test_secure_channel.py::test_a_failed_channel_sends_nothing_more",
    ),
    Guard(
        "session key signed by the card",
        CARD,
        "if session.signed_by(candidate):",
        "if session.signed_by(candidate) or True:",
        "tests/core/test_card.py::TestRememberedCertificates::test_bad_session_signature",
    ),
    Guard(
        "session certificate is fresh",
        CARD,
        "        session.check_nonce(nonce)\n",
        "",
        "tests/core/test_card.py::TestRememberedCertificates::test_replayed_session_certificate",
    ),
    Guard(
        "genuine means signed by the CA",
        CERTIFICATE,
        "            if _is_signed_by(parsed, anchor.public_key):",
        "            if anchor.name == certificate.issuer:",
        "tests/core/test_certificate.py::TestVerdict::test_forged",
    ),
    Guard(
        "every signature is verified",
        "cryptnox_core/card_keys.py",
        "return verified_signature(self.run(command), digest, public_key, curve=curve, kind=kind)",
        "return self.run(command)",
        "tests/core/test_card.py::TestSigning::test_under_another_key",
    ),
    Guard(
        "a known serial keeps its key",
        UNLOCK,
        "if known is not None and known != static_key_hash(card):",
        "if False:",
        f"{PINS}::test_a_known_serial_with_another_key_gets_nothing",
    ),
    Guard(
        "emulators elsewhere only when asked for",
        "hwilib_cryptnox/access.py",
        "if not (self.emulators or path in _wanted or is_loopback(host)):",
        "if False:",
        "tests/security/test_network.py::test_an_emulated_card_elsewhere_is_opened_only_when_asked_for",
    ),
    Guard(
        "a key of the card that is no point is a malformed answer",
        "cryptnox_core/secp256k1.py",
        '    except ValueError as error:\n        raise InvalidPublicKeyError("not a point of the curve") from error\n',
        "    except ZeroDivisionError:\n        raise\n",
        "tests/core/test_hostile_card.py::test_any_plaintext_from_a_card_that_holds_the_keys",
    ),
    Guard(
        "nothing follows a fault",
        CHANNEL,
        "        self._state = ChannelState.FAILED\n        self._keys = None\n",
        "        return\n",
        "tests/core/test_faults.py::test_every_fault_at_every_apdu",
    ),
    Guard(
        "a reader that another program holds is waited for with a limit",
        PCSC,
        "        ended = done.wait(limit)\n",
        "        ended = done.wait()\n",
        f"{READER}::test_a_program_that_never_lets_go_hangs_nobody",
    ),
    Guard(
        "the card is reset at the end",
        PCSC,
        "scard.SCardDisconnect(self.card, scard.SCARD_RESET_CARD)",
        "scard.SCardDisconnect(self.card, scard.SCARD_LEAVE_CARD)",
        f"{READER}::test_the_card_is_reset_at_the_end",
    ),
    # PIN tries
    Guard(
        "one refusal ends the search over all cards",
        "hwilib_cryptnox/entries.py",
        "if known is None and self._spent:",
        "if False:",
        "tests/hwi/test_enumerate.py::TestInAReader::test_a_list_sends_a_refused_pin_to_one_card_only",
    ),
    Guard(
        "the last try is kept",
        UNLOCK,
        "if left == 1 and not self.settings.last_try:",
        "if False:",
        f"{PINS}::test_the_last_try_is_not_sent",
    ),
    Guard(
        "a refused PIN is not sent again",
        UNLOCK,
        "        if self.explicit in _refused.get(card.serial, set()):\n            raise",
        "        if False:\n            raise",
        f"{PINS}::test_hwilib_finds_the_device_with_one_try",
    ),
    Guard(
        "a note stops automatic PINs",
        UNLOCK,
        '        if record is not None and record.note is not None:\n            what = "was refused"',
        '        if False:\n            what = "was refused"',
        f"{PINS}::test_a_wrong_automatic_pin_costs_one_try_in_all",
    ),
    Guard(
        "the note is there before the PIN is sent",
        UNLOCK,
        "                self.state.update(serial, lambda now: replace(now, note=now.note or NoteKind.PENDING))\n",
        "",
        f"{PINS}::test_killed_while_the_card_answers",
    ),
    Guard(
        "no note, no automatic PIN",
        UNLOCK,
        '                if source is not None:\n                    raise self.no_pin([f"{error}, so no PIN',
        '                if False:\n                    raise self.no_pin([f"{error}, so no PIN',
        f"{PINS}::test_a_state_that_turns_unwritable",
    ),
    Guard(
        "automatic PINs to known or genuine cards only",
        UNLOCK,
        "if record.static_key != static_key_hash(card) and card.genuineness is not Genuineness.GENUINE:",
        "if False:",
        f"{PINS}::test_a_fake_card_never_gets_an_automatic_pin",
    ),
    Guard(
        "automatic PINs with a full counter only",
        UNLOCK,
        '        if not _is_full(record, left):\n            raise RefusedPinError(f"a PIN was refused elsewhere',
        '        if False:\n            raise RefusedPinError(f"a PIN was refused elsewhere',
        f"{PINS}::test_a_refusal_elsewhere_keeps_automatic_sources_away",
    ),
    Guard(
        "a poller spends nothing of a card somebody else mistyped on",
        UNLOCK,
        "if noted and (card.serial not in _noted or left < 2):",
        "if False:",
        f"{PINS}::test_a_poller_with_a_wrong_password",
    ),
    Guard(
        "genuine cards only, where the user wants that",
        UNLOCK,
        "if not settings.require_genuine:",
        "if True:",
        f"{PINS}::test_require_genuine",
    ),
    Guard(
        "other devices' passwords are not sent",
        UNLOCK,
        "return self.password if is_pin(self.password) else None",
        "return self.password",
        f"{PINS}::test_every_command",
    ),
    Guard(
        "a PIN file others can read is refused",
        PIN,
        "stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0)",
        "False",
        "tests/hwi/test_pin_sources.py::test_a_file_others_can_reach_is_refused",
    ),
    # Transactions
    Guard(
        "the previous transaction is the one that is spent",
        CHECKS,
        "if previous.txid != outpoint[:32]:",
        "if False:",
        LIES,
    ),
    Guard(
        "both forms of the spent output agree",
        CHECKS,
        "if fields.witness_utxo is not None and fields.witness_utxo != previous.output:",
        "if False:",
        LIES,
    ),
    Guard("an output is spent once", CHECKS, "        if outpoint in seen:\n", "        if False:\n", LIES),
    Guard("no money from nowhere", CHECKS, "if complete and total < outputs:", "if False:", LIES),
    Guard("the redeem script is the output's", CHECKS, "if hash160(redeem) != script[2:22]:", "if False:", LIES),
    Guard(
        "the witness script is the output's",
        CHECKS,
        "if hashlib.sha256(witness_script).digest() != program[2:]:",
        "if False:",
        LIES,
    ),
    Guard("a tapscript leaf is the output's", CHECKS, "    if key != output_key:\n", "    if False:\n", LIES),
    Guard(
        "the key at the path is the card's",
        PLAN,
        "        if is_key(claim, key):\n            continue\n",
        "        if True:\n            continue\n",
        LIES,
    ),
    Guard(
        "change is the card's",
        CHANGE,
        "        if not true:\n            raise RefusedOutput",
        "        if False:\n            raise RefusedOutput",
        f"{POLICY}::test_wrong_key_of_change_refuses_all",
    ),
    Guard(
        "an output's claim that is not compared is refused",
        CHANGE,
        "        if key is None:\n            if claim.by_account:\n                continue\n",
        "        if key is None:\n            continue\n",
        f"{POLICY}::test_wrong_key_of_change_refuses_all",
    ),
    Guard(
        "change is made of the key at the path of its own claim",
        CHANGE,
        "if script in single_key_scripts(keys[claim.path]):",
        "if any(script in single_key_scripts(key) for key in keys.values()):",
        f"{CHANGES}::test_a_second_claim_lends_no_path",
    ),
    Guard(
        "change of several keys has the template of the inputs",
        CHANGE,
        "if found is None or not self._template.fits(found):",
        "if found is None:",
        f"{CHANGES}::test_what_is_not_that_wallets_is_a_payment",
    ),
    Guard(
        "each key is derived from its extended key",
        CHANGE,
        "            if derived == key:\n",
        "            if derived:\n",
        f"{CHANGES}::test_origins_prove_nothing",
    ),
    Guard(
        "all inputs of ours are of the wallet",
        CHANGE,
        "return first if all(first.fits(read) for read in found) else None",
        "return first",
        f"{CHANGES}::test_all_inputs_have_to_be_of_the_wallet",
    ),
    Guard(
        "a wallet that is named is compared with the inputs",
        CHANGE,
        "if output is None or not any(wallet(output[1], claim) for claim in claims):",
        "if False:",
        f"{CHANGES}::test_a_wallet_that_is_named",
    ),
    Guard(
        "keys of the network that was named",
        PLAN,
        "if coin is not None and coin != wanted:",
        "if False:",
        f"{POLICY}::test_keys_of_another_network_than_named",
    ),
    Guard(
        "only whole transactions are signed",
        PLAN,
        "    if policy.allow_sighash:\n        return\n",
        "    if True:\n        return\n",
        LIES,
    ),
    Guard(
        "amounts that nothing proves",
        AMOUNTS,
        "    if missing:\n",
        "    if False:\n",
        f"{POLICY}::test_two_unproved_inputs_need_leave",
    ),
    Guard(
        "amounts of others have to be proved too",
        AMOUNTS,
        "for index, spend in enumerate(collected.spends) if not spend.proved and index != exempt]",
        "for index, spend in enumerate(collected.spends)\n"
        "            if not spend.proved and index != exempt and index in own_only]",
        f"{POLICY}::test_foreign_input_has_to_be_proved_too",
    ),
    Guard(
        "a taproot signature settles nothing for the others",
        AMOUNTS,
        "if not own_only and candidates:",
        "if any(map(_commits_to_all, candidates)):",
        f"{POLICY}::test_taproot_signature_settles_nothing_for_others",
    ),
    Guard(
        "limits of the fee",
        PLAN,
        "if most is None or value <= most:",
        "if True:",
        f"{POLICY}::test_default_fee_limits",
    ),
    Guard(
        "a fee that cannot be told is above any limit that was chosen",
        PLAN,
        "    if fee is None or rate is None:\n        if any(",
        "    if fee is None or rate is None:\n        if False and any(",
        f"{POLICY}::test_unknown_fee_and_the_limits",
    ),
    Guard(
        "unneeded bytes make no fee rate small",
        "hwilib_cryptnox/psbt/weight.py",
        "            if bounded:\n",
        "            if False:\n",
        f"{POLICY}::test_unneeded_bytes_do_not_make_a_fee_rate_small",
    ),
    Guard(
        "no transaction that no node relays",
        PLAN,
        "if candidates and weight(psbt, collected.locks) > MAX_WEIGHT:",
        "if False:",
        f"{POLICY}::test_what_no_node_relays_is_not_signed",
    ),
    Guard(
        "ECDSA signatures are verified before they are inserted",
        "hwilib_cryptnox/psbt/insert.py",
        "if not parse_public_key(key).verify(low, request.digest, hasher=None):",
        "if False:",
        f"{POLICY}::test_insert_checks_every_signature",
    ),
    Guard(
        "Schnorr signatures are verified before they are inserted",
        "hwilib_cryptnox/psbt/insert.py",
        "if not verify_schnorr(key[1:], request.digest, signature):",
        "if False:",
        f"{POLICY}::test_insert_checks_every_signature",
    ),
    Guard(
        "kept signatures are verified",
        "hwilib_cryptnox/signing.py",
        "if signature is not None and _verifies(candidate, signature):",
        "if signature is not None:",
        "tests/hwi/test_signing.py::test_kept_signatures_are_not_believed",
    ),
    Guard(
        "a PIN whose end a fault hid is not sent again unproved",
        UNLOCK,
        "        self._check_last_try(left)\n        self._check_note(record, left)\n",
        "        self._check_last_try(left)\n",
        "tests/hwi/test_signing.py::test_a_fault_at_the_pin_that_was_accepted",
    ),
    Guard(
        "the same card after a fault",
        "hwilib_cryptnox/wallet.py",
        "if found.card.serial != serial:",
        "if False:",
        "tests/hwi/test_signing.py::test_another_card_in_its_place",
    ),
    Guard(
        "the digest of segwit v0 commits to the amount",
        SIGHASH,
        "with_length(script), SIGNED_AMOUNT.pack(amount), tx.sequences[index], tail)",
        "with_length(script), bytes(8), tx.sequences[index], tail)",
        f"{SIGNING}::test_each_script_type_alone",
    ),
    Guard(
        "the digest of a legacy input commits to the outputs",
        SIGHASH,
        "        digest.update(self._legacy_outputs(index, mode))\n",
        "",
        f"{SIGNING}::test_each_script_type_alone",
    ),
    Guard(
        "the digest of taproot commits to all amounts",
        SIGHASH,
        'parts += (self._shared("prevouts"), self._shared("amounts"), self._shared("scripts"))',
        'parts += (self._shared("prevouts"), self._shared("scripts"))',
        f"{SIGNING}::test_each_script_type_alone",
    ),
    Guard(
        "what is not ours comes back as it came",
        CODEC,
        "                pieces += (self.raw[at : fields.end], piece)\n",
        '                pieces += (self.raw[at : fields.end].replace(b"\\xf0unknown", b"\\xf0renamed"), piece)\n',
        "tests/hwi/test_signing.py::test_everything_else_stays",
    ),
    Guard(
        "a PSBT that is cut short",
        CODEC,
        '        if at >= size:\n            raise BadPsbt("cut short in a key")\n',
        "",
        "tests/fuzz/test_psbt_fuzz.py::test_damaged_psbts_give_our_errors_only",
    ),
    Guard(
        "somebody agrees first",
        "hwilib_cryptnox/ctl/sign.py",
        "        if not agreed:\n",
        "        if False:\n",
        "tests/ctl/test_terminal.py::test_saying_no_signs_nothing",
    ),
    Guard(
        "checks that Python cannot be told to leave out",
        "cryptnox_core/reader.py",
        "        if length > self.left:\n",
        "        assert length <= self.left\n        if False:\n",
        "tests/test_architecture.py::test_no_assert_in_the_packages",
    ),
    # What is written and shown
    Guard(
        "a PIN is not logged",
        UNLOCK,
        "            card.verify_pin(pin)\n",
        '            __import__("logging").debug("PIN %s", pin)\n            card.verify_pin(pin)\n',
        "tests/security/test_secrets.py::test_hwi_cryptnox",
    ),
    Guard(
        "the command that gives the PIN is started without a shell",
        PIN,
        "words = shlex.split(self.command)",
        'words = ["sh", "-c", self.command]',
        "tests/security/test_secrets.py::test_the_command_that_gives_the_pin",
    ),
    Guard(
        "a listing calls no emulated card that was not asked for",
        "hwilib_cryptnox/listing.py",
        "return _entries(password, emulators) if _card_in_a_reader() or emulators else []",
        "return _entries(password, True)",
        "tests/security/test_network.py::test_only_the_card_that_was_named",
    ),
    Guard(
        "folders for the owner only",
        FILES,
        '    if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o077:\n        folder.chmod(0o700)\n',
        "",
        f"{STATE}::test_a_folder_left_open_is_closed",
    ),
    Guard(
        "linked folders are refused",
        FILES,
        "    if stat.S_ISLNK(status.st_mode):\n",
        "    if False:\n",
        f"{STATE}::test_a_linked_folder_is_refused",
    ),
    Guard(
        "linked files are refused",
        FILES,
        '_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | ',
        "_NO_FOLLOW = ",
        f"{STATE}::test_a_linked_file_is_neither_read_nor_written_through",
    ),
    Guard(
        "somebody else's folder is refused",
        FILES,
        'if sys.platform != "win32" and status.st_uid != os.geteuid():',
        "if False:",
        f"{STATE}::test_what_belongs_to_somebody_else_is_refused",
    ),
    Guard(
        "on disk before it counts",
        FILES,
        "                os.fsync(file.fileno())\n",
        "",
        f"{STATE}::test_a_write_is_on_disk_when_it_returns",
    ),
    Guard(
        "session keys are not shown",
        CHANNEL,
        "    aes: bytes = field(repr=False)\n",
        "    aes: bytes\n",
        "tests/security/test_objects.py::test_no_object_shows_a_secret",
    ),
    Guard(
        "the PIN of a session is not shown",
        "hwilib_cryptnox/session.py",
        "    pin: str = field(repr=False)\n",
        "    pin: str\n",
        "tests/security/test_objects.py::test_no_object_shows_a_secret",
    ),
    Guard(
        "typed secrets are not echoed",
        "hwilib_cryptnox/ctl/prompts.py",
        "    silent[3] &= ~termios.ECHO\n",
        "",
        "tests/security/test_secrets.py::test_dialogues",
    ),
    # What a person agrees to
    Guard(
        "a dialogue confirms what was proved",
        "hwilib_cryptnox/signing.py",
        "                confirm(self.wallet, made)\n",
        "                pass\n",
        "tests/hwi/test_confirm.py::test_leaving_the_confirmation_signs_nothing",
    ),
    Guard(
        "a dialogue confirms a message",
        "hwilib_cryptnox/wallet.py",
        "        if self.unlocker.confirms:\n",
        "        if False:\n",
        "tests/hwi/test_confirm.py::test_leaving_the_confirmation_signs_nothing",
    ),
    Guard(
        "what cannot be shown is not signed",
        PIN,
        '        raise WalletError(Code.NOT_READY, f"what cannot be shown is not signed: {error}") from error\n',
        "        pass\n",
        "tests/hwi/test_confirm.py::test_what_cannot_be_shown_is_not_signed",
    ),
    Guard(
        "every source can be confirmed",
        PIN,
        '    if settings.confirm == "pinentry":\n',
        "    if False:\n",
        "tests/hwi/test_confirm.py::test_every_source_can_be_confirmed",
    ),
    Guard(
        "a dialogue's text fits it",
        "hwilib_cryptnox/assuan.py",
        '    if len(_plus_quoted(text).encode("utf-8")) > DESCRIPTION_LIMIT:\n',
        "    if False:\n",
        "tests/hwi/test_shown.py::test_the_limits_are_those_of_the_protocol",
    ),
    Guard(
        "a message cannot draw in a dialogue",
        "hwilib_cryptnox/shown.py",
        '            category[0] == "C"\n',
        "            False\n",
        "tests/hwi/test_shown.py::test_a_message_is_shown_as_it_is",
    ),
    Guard(
        "what is typed ahead agrees to nothing",
        "hwilib_cryptnox/ctl/sign.py",
        "        terminal.fresh()\n",
        "",
        "tests/ctl/test_terminal.py::test_what_is_typed_before_the_review_does_not_agree_to_it",
    ),
    Guard(
        "a PSBT does not flood the review",
        "hwilib_cryptnox/shown.py",
        "    return (list(outputs), []) if len(outputs) <= most else largest(outputs, most)\n",
        "    return list(outputs), []\n",
        "tests/ctl/test_hostile.py::test_nothing_in_a_psbt_floods_the_review",
    ),
    Guard(
        "data of a PSBT do not steer the terminal",
        "hwilib_cryptnox/shown.py",
        '    if pushed and pushed.isascii() and pushed.decode("ascii").isprintable():\n',
        "    if pushed:\n",
        "tests/ctl/test_hostile.py::test_nothing_in_a_psbt_floods_the_review",
    ),
    # Between host and card
    Guard(
        "no more levels in a command than its padding protects",
        "cryptnox_core/first_block.py",
        "\nLEVELS = 3\n",
        "\nLEVELS = 8\n",
        "tests/core/test_first_block.py::test_every_key_is_right_or_an_error",
    ),
    Guard(
        "the planner's commands are as short",
        "cryptnox_core/derivation.py",
        "        if not isinstance(step, Derive) or step.path_suffix.depth <= LEVELS:\n",
        "        if True:\n",
        "tests/hwi/test_man_in_the_middle.py::test_reading_and_signing",
    ),
    Guard(
        "the extended key is that of its path",
        "hwilib_cryptnox/runner.py",
        "if key.depth != path.depth or key.child_number != path.steps[-1]:",
        "if False:",
        "tests/hwi/test_man_in_the_middle.py::test_reading_and_signing",
    ),
    Guard(
        "no answer is taken twice",
        CHANNEL,
        "        if mac in self._answered:",
        "        if False:",
        "tests/core/test_first_block.py::test_no_answer_is_taken_twice",
    ),
    Guard(
        "a status word behind other data is no answer",
        "cryptnox_core/commands/base.py",
        "        if self.secure and len(data) > MOST_EXTRA:\n",
        "        if False:\n",
        "tests/core/test_first_block.py::test_a_status_word_behind_a_block_of_data_is_no_answer",
    ),
    Guard(
        "no SIGN without a PIN that the card could take for one with a wrong PIN",
        "cryptnox_core/card_keys.py",
        "if pin is None and digest not in self._authorised:",
        "if False:",
        "tests/core/test_library.py::TestSign::test_without_pin_for_what_a_user_key_unlocked_alone",
    ),
    Guard(
        "a PIN that is no text is nobody's PIN",
        "cryptnox_core/commands/base.py",
        '    text(pin, "a PIN")\n',
        "",
        "tests/core/test_library.py::TestMistakes::test_wrong_values",
    ),
    Guard(
        "True and False alone switch something on or off",
        "cryptnox_core/arguments.py",
        "    if not isinstance(value, bool):\n",
        "    if False:\n",
        "tests/core/test_library.py::TestMistakes::test_wrong_values",
    ),
    Guard(
        "a channel of another form is not called another pairing key",
        CHANNEL,
        "if info is not None and info.is_version_2 and _is_about_the_channel(error):",
        "if False:",
        "tests/core/test_library.py::TestApplet2::test_one_that_does_not",
    ),
    Guard(
        "a certificate is judged under the hash that it names",
        CERTIFICATE,
        "        SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA512(),\n",
        "        SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA256(),\n",
        "tests/core/test_vendor_bytes.py::TestCertificates::test_who_signed_whom",
    ),
    # What was signed before
    Guard(
        "no nonce of an earlier run",
        MEMORY,
        'repeated = any(line.get("of") != purpose for line in known)',
        "repeated = False",
        f"{REMEMBERED}::test_in_a_later_run",
    ),
    Guard(
        "no nonce of this run, also without a state",
        MEMORY,
        "if self._nonces.setdefault(nonce, purpose) != purpose:",
        "if False:",
        f"{REMEMBERED}::test_without_a_state_one_run_still_compares",
    ),
    Guard(
        "no nonce of a signature that the PSBT brings",
        MEMORY,
        "repeated, brought = False, nonce in self._brought",
        "repeated, brought = False, False",
        f"{REMEMBERED}::test_signed_on_another_computer",
    ),
    Guard(
        "ECDSA and Schnorr share their nonces",
        MEMORY,
        'return _short(kind.value.encode("ascii") + public_key + digest)',
        "return _short(public_key + digest)",
        f"{REMEMBERED}::test_what_a_nonce_may_serve",
    ),
    Guard(
        "nonces are remembered where the audit is off",
        MEMORY,
        "log.add(AUDIT if self._settings.audit else NONCES, entry)",
        "log.add(AUDIT, entry) if self._settings.audit else None",
        f"{REMEMBERED}::test_in_a_later_run",
    ),
    Guard(
        "a kept signature is judged like a new one",
        "hwilib_cryptnox/signing.py",
        "                    self._admit(request, signature)\n",
        "                    self._made.append((request, signature))\n",
        f"{REMEMBERED}::test_kept_by_an_earlier_version",
    ),
    Guard(
        "what is thrown away is not kept",
        "hwilib_cryptnox/signing.py",
        "            self._keep_only_made()\n",
        "",
        f"{REMEMBERED}::test_kept_by_an_earlier_version",
    ),
    Guard(
        "messages are judged, too",
        MEMORY,
        "        self.admit(digest, public_key, signature)\n",
        "",
        f"{REMEMBERED}::test_by_every_command",
    ),
    Guard(
        "asked is noted before the card is asked",
        MEMORY,
        "        self.ask([digest], None)\n        signature = make()\n",
        "        signature = make()\n        self.ask([digest], None)\n",
        f"{REMEMBERED}::test_asked_is_on_disk_before_the_card_is_asked",
    ),
    Guard(
        "asked is on disk before the card is asked",
        MEMORY,
        '"digests": asked}, sync=True)',
        '"digests": asked})',
        f"{REMEMBERED}::test_asked_is_on_disk_before_the_card_is_asked",
    ),
    Guard(
        "each signature is kept as it is made",
        "hwilib_cryptnox/signing.py",
        "            self.state.add_partial(self.psbt.unsigned_tx(), _kept_entry(request, signature))\n",
        "            pass\n",
        f"{REMEMBERED}::test_killed_while_signing",
    ),
    Guard(
        "a coin signed for others is told",
        MEMORY,
        'others = [entry for entry in found if entry.get("payees") != spending.payees]',
        "others: list[Entry] = []",
        f"{REMEMBERED}::test_a_coin_that_was_signed_for_others",
    ),
    Guard(
        "a transaction with other inputs called ours is told",
        MEMORY,
        'entry.get("ours") != spending.ours',
        "False",
        f"{REMEMBERED}::test_the_same_transaction_with_other_inputs_called_ours",
    ),
    Guard(
        "an index of other logs is not believed",
        LOG,
        "or (mark.seen and self._tail(log, mark.seen) != mark.tail)",
        "",
        "tests/hwi/test_signature_log.py::test_a_log_that_was_put_back_and_went_on",
    ),
    Guard(
        "a new process takes in what no disk is known to have",
        LOG,
        "header.marks[log].seen if self._known else header.marks[log].safe",
        "header.marks[log].seen",
        "tests/hwi/test_signature_log.py::test_a_power_cut_may_take_what_was_not_synchronized",
    ),
    # Messages in disguise
    Guard(
        "a message without its text is refused",
        MESSAGE,
        "            raise RefusedInput(virtual[0], NO_MESSAGE)\n",
        "            return None\n",
        f"{TOLD}::test_without_its_message_it_is_refused",
    ),
    Guard(
        "the form of a message is refused where nothing proves another",
        MESSAGE,
        "    if psbt.tx.outputs == (_OUTPUT,) and not _is_proved(psbt, 0):\n",
        "    if False:\n",
        f"{TOLD}::test_somebody_elses_message_about_our_coins",
    ),
    Guard(
        "nothing of 0 satoshi is signed unproved",
        MESSAGE,
        "        if fields.keyed(f.IN_BIP32_DERIVATION) or fields.keyed(f.IN_TAP_BIP32_DERIVATION):\n",
        "        if False:\n",
        f"{TOLD}::test_nothing_of_0_satoshi_is_signed_on_somebodys_word",
    ),
    Guard(
        "the text is that of what is signed",
        MESSAGE,
        "    if psbt.tx.outpoints[0] != hash256(to_spend(content, script)) + bytes(4):\n",
        "    if False:\n",
        f"{TOLD}::test_a_message_that_is_not_what_is_signed",
    ),
    Guard(
        "a message is signed as a whole only",
        MESSAGE,
        'if asked is not None and int.from_bytes(asked, "little") not in _WHOLE:',
        "if False:",
        f"{TOLD}::test_a_message_that_is_not_what_is_signed",
    ),
    # Setting a card up
    Guard(
        "the card's wallet compared with its words",
        PROVISION,
        "        if shown != wanted:",
        "        if False:",
        f"{SETUP}::test_a_seed_changed_on_the_way_is_found_out",
    ),
    Guard(
        "a PUK proved before there is a seed",
        PROVISION,
        "            if self._prove_puk():\n                break",
        "            if True:\n                break",
        f"{SETUP}::test_no_seed_goes_on_a_card_whose_puk_is_not_known",
    ),
    Guard(
        "a new PUK proved by use",
        PROVISION,
        "        if not self._prove_puk():",
        "        if False:",
        f"{SETUP}::test_a_pin_or_puk_changed_on_the_way_is_found_out",
    ),
    Guard(
        "a genuine card before a PIN and a PUK are asked for",
        PROVISION,
        "        check_genuine(self.card, self.way.settings)\n",
        "",
        f"{SETUP}::test_a_card_that_is_not_admitted_gets_no_secret",
    ),
    Guard(
        "no set-up for another card of a known serial",
        PROVISION,
        "        check_identity(self.card, self.way.state)\n",
        "",
        f"{SETUP}::test_another_card_of_a_known_serial_gets_no_secret",
    ),
    Guard(
        "a state that can be written before INIT",
        PROVISION,
        "        self.way.state.hold(self.found.reader, self.serial)\n",
        "        return\n",
        f"{SETUP}::test_nothing_is_done_where_the_state_cannot_be_written",
    ),
    Guard(
        "an address is that of its path",
        "cryptnox_core/first_block.py",
        "\nLEVELS = 3\n",
        "\nLEVELS = 8\n",
        f"{SETUP}::test_an_address_of_another_path_is_not_given_out",
    ),
    Guard(
        "of pasted words none is dropped",
        "hwilib_cryptnox/ctl/mnemonic.py",
        "        more = len(words) > count or hidden.more()",
        "        more, words = False, words[:count]",
        "tests/ctl/test_words.py::test_more_words_than_were_announced_are_never_dropped",
    ),
    Guard(
        "the PIN of stdin is the first card's",
        "hwilib_cryptnox/ctl/dual.py",
        "    return PersonUnlocker(app.settings, app.state, None, automatic_sources(app.settings), app=app)",
        '    return PersonUnlocker(app.settings, app.state, app.secret_line("PIN"), (), app=app)',
        "tests/ctl/test_clone.py::test_the_pin_of_stdin_is_the_first_cards",
    ),
    Guard(
        "the end of a seed that is not known is looked up",
        PROVISION,
        "                self.stage = Stage.SEEDED if info.seeded else Stage.INITIALISED",
        "                self.stage = Stage.INITIALISED",
        f"{SETUP}::test_ctrl_c_while_the_card_works_is_told_as_it_is",
    ),
    # Whoever listens on the emulated card's port
    Guard(
        "no source's PIN goes to a card over TCP",
        UNLOCK,
        "        if not place.startswith(EMULATOR_PREFIX) or self.settings.trusts(place):\n",
        "        if True:\n",
        f"{PINS}::test_whoever_listens_gets_no_pin",
    ),
    Guard(
        "no card over TCP is genuine",
        UNLOCK,
        "    if is_emulated(card):\n",
        "    if False:\n",
        f"{PINS}::test_require_genuine",
    ),
    Guard(
        "no card over TCP is called genuine",
        "hwilib_cryptnox/ctl/look.py",
        "    emulated = genuine is Genuineness.GENUINE and reader.startswith(EMULATOR_PREFIX)\n",
        "    emulated = False\n",
        "tests/ctl/test_commands.py::test_an_emulated_card_is_never_called_genuine",
    ),
    Guard(
        "the emulated cards' CA is nobody's anchor",
        "hwilib_cryptnox/access.py",
        "            if any(anchor.public_key == EMULATOR_CA.public_key for anchor in more.anchors):\n",
        "            if False:\n",
        "tests/hwi/test_enumerate.py::TestInAReader::test_the_emulated_cards_ca_is_nobodys_anchor",
    ),
    Guard(
        "three tries may be half of six",
        UNLOCK,
        "        if record.full is None and left == PIN_TRIES_SESSION:\n",
        "        if False:\n",
        f"{PINS}::test_a_wrong_pin_file_and_a_lost_state",
    ),
    # The life of a card
    Guard(
        "of several cards none is erased",
        "hwilib_cryptnox/named.py",
        "        if len(meant) + len(others) > 1:\n",
        "        if False:\n",
        "tests/hwi/test_wipe.py::TestTwoCards::test_of_two_seeds",
    ),
    Guard(
        "a fingerprint is read before a card is erased by it",
        "hwilib_cryptnox/named.py",
        "            _prove(wallet, unlocker)\n",
        "            pass\n",
        "tests/hwi/test_wipe.py::test_a_fingerprint_is_read_from_the_card",
    ),
    Guard(
        "no secret for another card of a known serial",
        "hwilib_cryptnox/irreversible.py",
        "    check_identity(card, access.state)\n",
        "",
        "tests/ctl/test_secrets.py::test_another_card_of_a_known_serial_gets_no_secret",
    ),
    Guard(
        "no secret for a card that is not admitted",
        "hwilib_cryptnox/irreversible.py",
        "    check_genuine(card, access.settings)\n",
        "",
        "tests/ctl/test_two_cards.py::test_what_the_configuration_does_not_admit",
    ),
    Guard(
        "the card is asked what became of a command",
        "hwilib_cryptnox/irreversible.py",
        "        return Ending(look(found), answered, lost)\n",
        "        return Ending(End.NOT_TAKEN, answered, lost)\n",
        "tests/ctl/test_changes.py::test_a_lost_answer_is_found_out",
    ),
    Guard(
        "a pairing key is proved by a channel",
        "hwilib_cryptnox/ctl/pairing.py",
        "send, look, prove=True)",
        "send, look)",
        "tests/ctl/test_changes.py::test_what_is_changed_on_the_way_is_noticed",
    ),
    Guard(
        "what was done is told first",
        "hwilib_cryptnox/ctl/frame.py",
        "    if app.achieved:\n",
        "    if False:\n",
        "tests/ctl/test_changes.py::test_a_full_stdout_hides_no_change",
    ),
    Guard(
        "no PIN try is spent on finding out where few are left",
        "hwilib_cryptnox/ctl/secrets.py",
        "        if left < SPARE_TRIES or (again",
        "        if (again",
        "tests/ctl/test_secrets.py::test_no_try_is_spent_to_find_out_where_few_are_left",
    ),
)
