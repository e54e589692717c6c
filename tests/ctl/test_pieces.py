"""Parts of the program that need no card: addresses, who has signed, errors, output."""

from __future__ import annotations

import contextlib
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core import errors
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.options import script_of_address, text_of
from hwilib_cryptnox.ctl.screen import Screen, printable, write_json
from hwilib_cryptnox.psbt import Psbt, RefusedInput
from hwilib_cryptnox.psbt.signers import input_statuses
from hwilib_cryptnox.signer.registered.card_wallets import NamedWallet
from hwilib_cryptnox.signer.review.shown import bitcoin
from hwilib_cryptnox.signer.wallets import PolicyError
from hwilib_cryptnox.storage.audit import compare, noted_digests
from tests.psbt.factory import ME, OTHER, deriv, draft, multisig, p2wsh, spend
from tests.psbt.signing import sign

ADDRESS = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"


@pytest.mark.parametrize(
    ("address", "chain"),
    [
        (ADDRESS, "main"),
        ("1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA", "main"),
        ("37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf", "main"),
        ("tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl", "signet"),
        ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", "main"),
    ],
)
def test_addresses_there_and_back(address: str, chain: str) -> None:
    assert text_of(script_of_address(address, chain), chain) == address
    with pytest.raises(CtlError):
        script_of_address(address, "regtest" if chain == "main" else "main")


@pytest.mark.parametrize("address", ["", "bc1q", ADDRESS[:-1] + "q", "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabB", "x" * 200])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(CtlError):
        script_of_address(address, "main")


def test_who_has_signed() -> None:
    made = draft(
        *(spend(kind, number) for number, kind in enumerate(("p2wpkh", "p2pkh", "p2sh-p2wpkh", "tapscript", "rawtr")))
    )
    before = input_statuses(Psbt.parse(made.encode()))
    assert [status.complete for status in before] == [False] * 5
    assert not any(signer.signed for status in before for signer in status.signers)
    after = input_statuses(sign(made.encode()))
    assert [status.complete for status in after] == [True] * 5
    assert all(any(signer.signed for signer in status.signers) for status in after)


def test_who_has_signed_a_multisig() -> None:
    keys = sorted([ME.key("m/0"), OTHER.key("m/0")])
    script = multisig(2, keys)
    item = spend("p2wpkh", script=p2wsh(script), fields=[deriv("m/0"), deriv("m/0", OTHER), (b"\x05", script)])
    status = input_statuses(sign(draft(item).encode()))[0]
    signed = {signer.public_key for signer in status.signers if signer.signed}
    assert (status.needed, signed, status.complete) == (2, {ME.key("m/0")}, False)


def _all_errors(base: type[Exception]) -> list[type[Exception]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _all_errors(child))]


def _make(kind: type[Exception]) -> Exception:
    if issubclass(kind, errors.TriesError):
        return kind("wrong", 0x63C2, 0x20, 2)  # type: ignore[call-arg]
    if issubclass(kind, errors.StatusWordError):
        return kind("refused", 0x6985, 0x20)  # type: ignore[call-arg]
    if issubclass(kind, errors.ChannelAbortedError):
        return kind("aborted", 0x6982)  # type: ignore[call-arg]
    return kind("text")


def test_every_error_ends_in_a_code_and_a_text() -> None:
    for kind in _all_errors(errors.CryptnoxError):
        if kind.__module__ != "cryptnox_core.errors":
            continue
        problem = explain(_make(kind))
        assert problem.exit_code is not Exit.DONE
        assert problem.message
    assert explain(RefusedInput(3, "it lies")).exit_code is Exit.INPUT
    assert explain(errors.WrongPukError("wrong PUK", 0x63C2, 0xC5, 2)).exit_code is Exit.SECRET
    assert explain(errors.NoReaderError("none")).exit_code is Exit.NO_CARD
    assert explain(errors.UsageError("no")).exit_code is Exit.USAGE
    assert explain(KeyboardInterrupt()).exit_code is Exit.REFUSED
    assert "9F" in explain(errors.StatusWordError("refused", 0x9F01, 0xC0)).message


def test_what_comes_from_a_file_does_not_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec") == "a?[2Jb?c"


def test_amounts_have_eight_places() -> None:
    assert [bitcoin(value) for value in (0, 1, 123_456_789, -5)] == [
        "0.00000000",
        "0.00000001",
        "1.23456789",
        "-0.00000005",
    ]


def test_piped_tables_are_tab_separated() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.table(("A", "B"), [("1", ("2", "red")), ("x" * 300, "y")], title="T")
    screen.fields([("name", "value", "bold")])
    assert stream.getvalue() == f"A\tB\n1\t2\n{'x' * 300}\ty\nname\tvalue\n"


@pytest.mark.parametrize("text", ["", "wpkh()", "wsh(nonsense)", "(", "wpkh(xpub)#qqqqqqqq", "x" * 500])
def test_what_is_no_wallet(text: str) -> None:
    with pytest.raises(PolicyError):
        NamedWallet.parse(text)


def test_audit_compares_by_digest() -> None:
    from cryptnox_core.models import HistoryEntry

    lines = [
        {"serial": "1", "digest": "aa" * 32, "time": 5, "txid": "cc" * 32},
        {"serial": "2", "digest": "bb" * 32, "time": 6, "txid": None},
        {"serial": "1", "digest": "no hex", "time": 7, "txid": None},
        {"nonsense": True},
    ]
    history = [HistoryEntry(9, b"\xbb" * 32), HistoryEntry(8, b"\xaa" * 32)]
    result = compare(9, history, noted_digests(lines, 1))
    assert [entry.counter for entry in result.elsewhere] == [9]
    assert result.out_of_sight == 7


def test_reference_names_every_command_and_option() -> None:
    import click

    from hwilib_cryptnox.ctl.app import COMMON_OPTIONS
    from hwilib_cryptnox.ctl.main import COMMANDS, cli

    docs = Path(__file__).parents[2] / "docs"
    pages = [
        "\n".join(path.read_text("utf-8") for path in sorted(docs.glob(pattern))).replace("\\-", "-")
        for pattern in ("cryptnoxctl*.md", "cryptnoxctl.1")
    ]
    wanted = {flag for option in COMMON_OPTIONS for flag in option.opts}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        leaves = command.commands if isinstance(command, click.Group) else {"": command}
        for child, leaf in leaves.items():
            wanted.add(f"cryptnoxctl {name} {child}".strip())
            shown = [one for one in leaf.params if isinstance(one, click.Option) and not one.hidden]
            wanted.update(option for parameter in shown for option in parameter.opts)
    for page in pages:
        assert [text for text in sorted(wanted) if text not in page] == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(codec=None)), indent=st.sampled_from([None, 2]))
def test_json_is_what_it_says_and_steers_nothing(text: str, indent: int | None) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        write_json({text: [text]}, indent=indent)
    assert json.loads(out.getvalue()) == {text: [text]}
    out.getvalue().encode("utf-8")
    assert all(unicodedata.category(char)[0] != "C" or char == "\n" for char in out.getvalue())


def test_json_has_the_letters_of_all_languages() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        write_json({"name": "Zoë 李"}, indent=None)
    assert out.getvalue() == '{"name": "Zoë 李"}\n'
