"""The program `hwi-cryptnox`: HWI's command line and JSON for Cryptnox cards alone.

The first line on stdout is the JSON answer and there is nothing else on stdout. Errors are answers too, with exit
status 0; 2 stands for a wrong command line, 1 for what `--signer-mode` says, and for a stdout that is closed or full.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from hwilib_cryptnox import DEVICE_TYPE, __version__
from hwilib_cryptnox.errors import NOT_FOUND_TEXT, BadRequestError, CardNotFoundError, NoPinError, UnavailableError
from hwilib_cryptnox.hwi.arguments import AS_HWI, PROGRAM, STOOD_IN_FOR, called_hwi, make_parser
from hwilib_cryptnox.hwi.errors import UNAVAILABLE, NoDeviceTypeError, UnknownDeviceTypeError, to_hwi_error

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from hwilib_cryptnox.hwi.frontend import Dialogue
    from hwilib_cryptnox.psbt import Psbt
    from hwilib_cryptnox.signer.host import Host
    from hwilib_cryptnox.signer.registered.registration import Registration
    from hwilib_cryptnox.signer.signing import Progress
    from hwilib_cryptnox.signer.wallet import Wallet

Answer = dict[str, object] | list[dict[str, object]]

NO_DEVICE_TEXT = "You must specify a device type or fingerprint for all commands except enumerate"
NO_FINGERPRINT_TEXT = "a card without a seed has no fingerprint: name it with --device-path cryptnox:SERIAL"
_LIKE_HWI = "3.2.0"
_WORD = re.compile(r"""\s*(?:([^\s"'\\]+)|"([^"\\]*)"|'([^']*)')(?=\s|$)""")
_MOST_LINE, _MOST_STDIN = 4 * 1024, 100 * 1024 * 1024
"""Characters of a password, and of the arguments that come by stdin: PSBTs of megabytes are among them."""
_MOST_MIXED = 65_536
"""Characters in which quotes and escapes may be mixed: the time that `shlex` takes grows with their square."""
_SIGNER_COMMANDS = ("getdescriptors", "signtx")


def main() -> None:
    """Entry point of the console script."""
    from hwilib_cryptnox.console.streams import CLOSED_TEXT, complete, deliver, give_up, undisturbed

    code = 1
    if complete():
        try:
            code = run(sys.argv[1:])
        except SystemExit as end:  # argparse's, which wrote its answer itself
            code = int(end.code or 0)
    else:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{CLOSED_TEXT}\n")
    with undisturbed():
        code = 1 if deliver("") else code
        give_up(sys.stderr)
        sys.exit(code)


class _Besides:
    """What there is to say besides the answer: `warnings`, and what was `done` and cannot be taken back, which an error
    says first. `signer`: whether signer mode is on."""

    def __init__(self, signer: bool) -> None:
        self.signer = signer
        self.warnings: list[str] = []
        self.done: list[str] = []


def run(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    from hwilib_cryptnox.console.streams import undisturbed

    command, besides = "", _Besides(_signer_mode_in(arguments))
    try:
        options = _parse(arguments)
        command = options.command
        answer = _answer(options, besides)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error is an answer in JSON
        told = to_hwi_error(error)
        answer = {"error": ". ".join([*besides.done, told.message]), "code": int(told.code)}
        if "--frontend" in arguments:
            from hwilib_cryptnox.hwi.frontend import details_of

            answer |= details_of(error)
    with undisturbed():
        return _tell(answer, besides, signer=besides.signer and command in _SIGNER_COMMANDS)


def _tell(answer: Answer, besides: _Besides, *, signer: bool) -> int:
    """Write the answer and what is to be said besides; the exit status."""
    from hwilib_cryptnox.console.streams import deliver

    lost = deliver(json.dumps(answer) + "\n")
    refused = signer and isinstance(answer, dict) and "error" in answer
    # Bitcoin Core takes the first line for the error.
    lines = [str(answer["error"])] if refused and isinstance(answer, dict) else []
    if lost is not None:
        lines += besides.done
        if not isinstance(lost, BrokenPipeError):  # where nobody listens any more, nobody is told
            lines.append(f"the answer cannot be written: {lost.strerror}")
    with contextlib.suppress(OSError):
        sys.stderr.writelines(" ".join(line.split()) + "\n" for line in [*lines, *besides.warnings])
    return 1 if lines else 0


def _signer_mode_in(arguments: list[str]) -> bool:
    return "--signer-mode" in arguments or os.environ.get("CRYPTNOX_SIGNER_MODE", "").strip().lower() in (
        "1",
        "true",
        "yes",
        "on",
    )


def _version() -> str:
    return f"{_hwis_version()} ({PROGRAM} {__version__})"


def _hwis_version() -> str:
    """As HWI's own program says it: Wasabi takes no word more."""
    return f"{STOOD_IN_FOR} {_version_of_hwi()}"


def _version_of_hwi() -> str:
    """Of the HWI that is installed; where there is none, of the one whose command line this is. Callers look at it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hwi")
    except PackageNotFoundError:
        return _LIKE_HWI


# The command line and stdin


def _parse(arguments: list[str]) -> argparse.Namespace:
    password = _password_from_stdin() if any(word.startswith("--stdinp") for word in arguments) else None
    if "--stdin" in arguments:
        arguments = [*arguments, *_words_from_stdin(exact="--frontend" in arguments)]
    if AS_HWI in arguments or called_hwi(os.path.basename(sys.argv[0])):  # noqa: PTH119 - polled: no pathlib
        parser = make_parser(_hwis_version, STOOD_IN_FOR)
    else:
        parser = make_parser(_version)
    options = parser.parse_args(arguments)
    options.named_chain, options.chain = options.chain, options.chain or "main"
    if options.stdinpass:
        options.password = _password_from_stdin() if password is None else password
    return options


def _password_from_stdin() -> str:
    """Typed on the terminal; where stdin is none, its first line."""
    if sys.stdin is not None and sys.stdin.isatty():
        import getpass

        with contextlib.suppress(EOFError):
            return getpass.getpass("Enter your device password: ")
    line = "" if sys.stdin is None else sys.stdin.readline(_MOST_LINE + 1)
    if len(line) > _MOST_LINE:
        raise BadRequestError(f"the first line of stdin is not a password: it has more than {_MOST_LINE} characters")
    if not line:
        raise NoPinError("no PIN on stdin: it ended before the first line")
    return line.rstrip("\r\n")


def _words_from_stdin(*, exact: bool) -> list[str]:
    """Arguments from the lines of stdin up to an empty one; `exact`: a line may be a JSON array of them."""
    words: list[str] = []
    left = _MOST_STDIN
    while (line := sys.stdin.readline(left + 1)).rstrip("\r\n"):
        left -= len(line)
        if left < 0:
            raise BadRequestError(f"stdin has more than {_MOST_STDIN // 1024 // 1024} MiB of arguments")
        words += [str(word) for word in json.loads(line)] if exact and line.startswith("[") else _split(line)
    return words


def _split(line: str) -> list[str]:
    """As `shlex.split`, which takes long for a PSBT of megabytes; it is asked where quotes or escapes are mixed."""
    words: list[str] = []
    at, end = 0, len(line.rstrip())
    while at < end:
        match = _WORD.match(line, at)
        if match is None:
            import shlex

            if len(line) <= _MOST_MIXED:
                return shlex.split(line)
            if end - at > _MOST_MIXED:
                raise BadRequestError(
                    "a line on stdin is too long for a backslash, or for quotation marks around a part of a word: give "
                    "a long PSBT without them, on a line of its own"
                )
            return words + shlex.split(line[at:])
        words.append(match[match.lastindex or 1])
        at = match.end()
    return words


# Commands


def _answer(options: argparse.Namespace, besides: _Besides) -> Answer:
    if options.debug:
        import logging

        logging.basicConfig(level=logging.DEBUG)
    if options.command == "enumerate":
        from hwilib_cryptnox.hwi.listing import list_entries

        return list_entries(options.password, emulators=options.allow_emulators, frontend=options.frontend)
    from dataclasses import replace

    from hwilib_cryptnox.console.streams import Warnings
    from hwilib_cryptnox.signer.host import Host

    host = Host(emulators=options.allow_emulators)
    switches = ("signer_mode", "rawtr", "allow_sighash", "allow_unproved_amounts")
    given: dict[str, Any] = {name: True for name in switches if getattr(options, name)}
    settings = replace(host.settings, **given)
    besides.signer = settings.signer_mode
    with Warnings(besides.warnings), contextlib.closing(_Command(options, host.changed(settings), besides.done)) as one:
        return one.run()


class _Command:
    def __init__(self, options: argparse.Namespace, host: Host, done: list[str]) -> None:
        self.options = options
        self.done = done
        self.access = host.access
        self.unlocker = host.unlocker(options.password)
        if options.frontend and self.unlocker.approval is not None:
            from hwilib_cryptnox.hwi.frontend import ask_touch

            self.unlocker.approval.say = ask_touch
        self._wallet: Wallet | None = None

    def close(self) -> None:
        if self._wallet is not None:
            self._wallet.close()

    def run(self) -> Answer:
        from hwilib_cryptnox.hwi.commands import getdescriptors, getkeypool, getmasterxpub, getxpub, signmessage
        from hwilib_cryptnox.networks import Network

        options = self.options
        if options.command == "installudevrules":
            raise UnavailableError(UNAVAILABLE["installudevrules"])
        fingerprint = self._check_device()
        if options.command == "displayaddress":
            self._check_address(fingerprint)
        if options.command in UNAVAILABLE:
            raise UnavailableError(UNAVAILABLE[options.command])
        network, rawtr = Network.of_chain(options.chain), self.access.settings.rawtr
        if options.command == "signtx":
            return self._signtx(fingerprint)
        if options.command in ("setup", "restore", "wipe"):
            return self._dialogue(fingerprint)
        if options.command == "registerdescriptor":
            return self._register(fingerprint)
        prompt = ""
        if options.command == "signmessage" and self.unlocker.asks_person:
            from cryptnox_core.bip32 import Path
            from hwilib_cryptnox.signer.review.message_prompts import message_prompt_text

            prompt = message_prompt_text(Path.parse(options.path))
        wallet = self._open(fingerprint, prompt)
        commands: dict[str, Callable[[], Answer]] = {
            "getmasterxpub": lambda: getmasterxpub(wallet, network, options.addr_type, options.account),
            "getxpub": lambda: getxpub(wallet, network, options.path, expert=options.expert, whose=options.frontend),
            "getdescriptors": lambda: getdescriptors(wallet, network, options.account, rawtr=rawtr),
            "getkeypool": lambda: getkeypool(wallet, network, vars(options), rawtr=rawtr),
            "signmessage": lambda: signmessage(wallet, options.message, options.path),
        }
        return commands[options.command]()

    def _check_address(self, fingerprint: bytes | None) -> None:
        """What is no path or descriptor, or another device's, is said to be so, as HWI's other drivers do."""
        options = self.options
        if options.path is not None:
            from cryptnox_core.bip32 import Path

            Path.parse(options.path)
        elif options.desc is not None:
            from hwilib_cryptnox.hwi.commands import check_descriptor
            from hwilib_cryptnox.signer.wallet import Wallet

            known = Wallet(options.device_path or "", self.access, self.unlocker, expected=fingerprint)
            check_descriptor(options.desc, known.known_fingerprint())
        if options.registration is not None:
            self._check_registered(fingerprint)
        elif options.index is not None or options.multipath_index is not None:
            raise BadRequestError("Missing --registration")

    def _check_registered(self, fingerprint: bytes | None) -> None:
        """An address of a registered wallet: whether there is one, and the card vouches for the wallet."""
        from hwilib_cryptnox.hwi.registerdescriptor import check_place, check_registered
        from hwilib_cryptnox.signer.review.wallet_prompts import look_prompt_text

        options = self.options
        registration = _registration(options.registration, fingerprint)
        check_place(registration, options.index, options.multipath_index)
        check_registered(self._open(fingerprint, look_prompt_text(registration.name)), registration)

    def _register(self, fingerprint: bytes | None) -> Answer:
        from hwilib_cryptnox.hwi.registerdescriptor import (
            Request,
            check_ours,
            person_at_terminal,
            registerdescriptor,
        )

        options = self.options
        request = Request.of(
            options.name,
            options.descriptor,
            self.access.state,
            self.unlocker,
            chain=options.named_chain,
            terminal=options.interactive or person_at_terminal(),
        )
        check_ours(request.policy, fingerprint)
        return {"registration": registerdescriptor(self._open(fingerprint, request.prompt), request).to_text()}

    def _check_device(self) -> bytes | None:
        """The fingerprint asked for. WalletError where the device is not named, or is none of ours."""
        options = self.options
        if not options.fingerprint and not options.device_type:
            raise NoDeviceTypeError(NO_DEVICE_TEXT)
        if options.device_type and options.device_type.split("_")[0].lower() != DEVICE_TYPE:
            if options.device_path and not options.fingerprint:
                raise UnknownDeviceTypeError("Unknown device type specified")
            raise CardNotFoundError(NOT_FOUND_TEXT)
        if not options.fingerprint:
            return None
        if re.fullmatch("[0-9a-fA-F]{8}", options.fingerprint, re.ASCII) is None:
            raise CardNotFoundError(NOT_FOUND_TEXT)
        return bytes.fromhex(options.fingerprint)

    def _open(self, fingerprint: bytes | None, prompt: str = "") -> Wallet:
        from hwilib_cryptnox.hwi.finding import find_wallet
        from hwilib_cryptnox.signer.wallet import Wallet

        path = self.options.device_path
        if path:
            self._wallet = Wallet(path, self.access, self.unlocker, expected=fingerprint)
        else:
            self._wallet = find_wallet(self.access, self.unlocker, fingerprint, prompt=prompt)
        return self._wallet

    def _signtx(self, fingerprint: bytes | None) -> Answer:
        from hwilib_cryptnox.networks import CHAINS, Network
        from hwilib_cryptnox.psbt import Form, Psbt
        from hwilib_cryptnox.signer.review.prompts import prompt_text
        from hwilib_cryptnox.signer.signatures.possible import stays_unchanged
        from hwilib_cryptnox.signer.signatures.taproot import any_signs
        from hwilib_cryptnox.signer.signing import Signing

        text, told = self.options.psbt, self.options.registration
        registration = None if told is None else _registration(told, fingerprint)
        psbt = Psbt.parse(text)
        network = Network.of_chain(self.options.chain)
        taproot = any_signs(self.access.state)
        if stays_unchanged(psbt, fingerprint, taproot=taproot):
            signed: Psbt = psbt
        else:
            prompt = prompt_text(psbt, fingerprint, taproot=taproot) if self.unlocker.asks_person else ""
            wallet = self._open(fingerprint, prompt)
            dialogue = _dialogue_with_front_end(wallet) if self.options.frontend else None
            chain = CHAINS.get(self.options.named_chain)
            wallets = None
            if registration is not None:
                from functools import partial

                from hwilib_cryptnox.signer.registered.registrar import wallets_with

                wallets = partial(wallets_with, wallet, registration)
            signing = Signing(
                wallet,
                psbt,
                network=network,
                chain=chain,
                progress=_progress() if dialogue is None else dialogue.progress,
                approve=None if dialogue is None else dialogue.approve,
                ask_fee=dialogue is not None,
                wallets=wallets,
            )
            signed = signing.run()
        changed = signed is not psbt
        return {"psbt": text if not changed and psbt.form is Form.BASE64 else signed.to_base64(), "signed": changed}

    def _dialogue(self, fingerprint: bytes | None) -> Answer:
        options = self.options
        if options.command != "wipe" and fingerprint is not None:
            raise BadRequestError(NO_FINGERPRINT_TEXT)
        if options.command != "wipe" and not options.interactive:
            raise UnavailableError(f"{options.command} requires interactive mode")
        from hwilib_cryptnox.hwi import setup as dialogue

        empty = options.command != "wipe"
        self._wallet = wallet = dialogue.named_card(
            self.access, self.unlocker, options.device_path, fingerprint, empty=empty
        )
        if options.command == "wipe":
            return {"success": dialogue.wipe(wallet, self.done)}
        if options.command == "setup":
            return {"success": dialogue.setup(wallet, options.label, options.backup_passphrase)}
        return {"success": dialogue.restore(wallet, options.label, options.word_count)}


def _registration(text: str, fingerprint: bytes | None) -> Registration:
    """What a registration says, before any card is asked: PolicyError where it is none, or none of the card that is
    asked for."""
    from hwilib_cryptnox.hwi.registerdescriptor import check_ours
    from hwilib_cryptnox.signer.registered.registration import Registration

    registration = Registration.parse(text)
    check_ours(registration.policy, fingerprint)
    return registration


def _dialogue_with_front_end(wallet: Wallet) -> Dialogue:
    from hwilib_cryptnox.hwi.frontend import Dialogue

    return Dialogue(wallet)


def _progress() -> Progress | None:
    """A line on stderr while the card signs, where somebody can see it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\rsigning {done + 1} of {total} " + ("\n" if done + 1 == total else ""))
        sys.stderr.flush()

    return show


if __name__ == "__main__":
    main()
