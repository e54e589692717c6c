"""A backup on paper, asked for at the terminal: recovery words (BIP39) or shares (SLIP39), typed hidden. What was typed
right is not asked for twice, nothing is stored, and no error repeats a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from cryptnox_core.errors import UsageError
from hwilib_cryptnox.console.terminal import ATTEMPTS, BACK, LEAVE, Terminal
from hwilib_cryptnox.errors import BackError, BadWordsError, LeftError
from hwilib_cryptnox.signer.mnemonic import WORD_COUNTS, Expected, checked, completed, pages, show
from hwilib_cryptnox.signer.setup.slip39 import SHARE_WORDS, Share, ShareError, ShareSet, checked_passphrase

NO_CHECK = "no check"
"""What is typed to go on without comparing the backup with the card."""
_SEEN = "Compare these words with your paper. What you typed was completed. They are shown only now."
_NO_MNEMONIC = "These are not valid recovery words: a word is wrong or in the wrong place."
_SLOW = 8
"""Exponent of a backup from which on it takes seconds to open."""


def ask_count(terminal: Terminal) -> int:
    """How many words a person's mnemonic has, or each of the shares."""
    known = [*map(str, WORD_COUNTS), *map(str, SHARE_WORDS)]
    while True:
        for _ in range(ATTEMPTS):
            answer = terminal.ask(f"How many words ({'/'.join(map(str, WORD_COUNTS))}; SLIP39 shares: 20/33)")
            if answer in known:
                return int(answer)
            terminal.explain(
                "Count the words on your paper, and type their number. A wallet of shares has 20 or 33 on each."
            )
            terminal.fresh()
        terminal.again()


def ask_seed(terminal: Terminal, count: int | None = None) -> Expected:
    """That of an existing backup of `count` words (None: it is asked) or of shares of so many words, and its
    passphrase, typed hidden, in one line or in several; checked by list and checksum. Four letters of a word are
    enough: then all are completed and shown. Nothing that was typed is left out: more words are refused.

    BadWordsError where the person leaves with words that are none; its text repeats no word.
    """
    number = ask_count(terminal) if count is None else count
    if number in SHARE_WORDS:
        return _ask_shares(terminal, number)
    from embit.wordlists.bip39 import WORDLIST

    terminal.explain(f"Type your {number} recovery words, one per line or several. They are not shown.")
    terminal.say("The first four letters of a word are enough.")

    def problem(words: list[str]) -> str:
        try:
            checked(" ".join(words), number)
        except UsageError:
            return _NO_MNEMONIC
        return ""

    words = _typed(terminal, number, WORDLIST, "", problem)
    return Expected.of(words, ask_passphrase(terminal))


def ask_shares(terminal: Terminal) -> Expected:
    """The secret of SLIP39 shares; as `ask_seed`."""
    count = terminal.choose("How many words has each share", {"20": "words: 128 bits", "33": "words: 256 bits"})
    return _ask_shares(terminal, int(count))


# Words


def _typed(
    terminal: Terminal, count: int, known: Sequence[str], of: str, problem_of: Callable[[list[str]], str]
) -> list[str]:
    """So many words of a list, in which there is no problem. Where there is one, they are corrected word by word."""
    words, short = _all_typed(terminal, count, known, of)
    while True:
        problem = problem_of(words)
        if problem:
            terminal.say(problem)
        elif not short:
            return words
        else:
            _show(terminal, words)
            if terminal.agrees("Are these the words on your paper?"):
                return words
        short = _correct(terminal, words, known, of, wrong=bool(problem)) or short


def _all_typed(terminal: Terminal, count: int, known: Sequence[str], of: str) -> tuple[list[str], bool]:
    """So many words of the list, and whether one of them was completed. After three lines in a row with a word of no
    list there is a way out; the words before them are kept."""
    words, short, lists = list[str](), False, 0
    while True:
        slips = 0
        with terminal.hiding("the words of a backup") as hidden:
            while len(words) < count and slips < ATTEMPTS:
                line = _plain(hidden.line(f"{of}Word {len(words) + 1}"))
                full = [completed(word, known) for word in line]
                if None in full:
                    slips += 1
                    # What was pasted behind this line must not take its place.
                    rest = "; what came after it was not used" if hidden.more() else ""
                    place = len(words) + full.index(None) + 1
                    terminal.say(f"Word {place} is not in the list; type this line again{rest}")
                    continue
                slips, short = 0, short or full != line
                words += [word for word in full if word]
            more = len(words) > count or (len(words) == count and hidden.more())
        if more:
            terminal.say(f"These are more than {count} words: none of them is used. Type them again.")
            words, short, lists = [], False, lists + 1
        elif not slips:
            return words, short
        if slips or lists % ATTEMPTS == 0:
            terminal.again()


def _correct(terminal: Terminal, words: list[str], known: Sequence[str], of: str, *, wrong: bool) -> bool:
    """One word is typed again, or all are; whether one was completed. BackError or LeftError (BadWordsError where
    the words are `wrong`) where the person does not want to."""
    ways = ["show", "all", *([BACK] if terminal.can_go_back else []), LEAVE]
    count = len(words)
    while True:
        for _ in range(ATTEMPTS):
            answer = terminal.ask(f"Which one do you want to type again (1 to {count}, or {', '.join(ways)})").lower()
            if answer == "show":
                _show(terminal, words)
                break
            if answer == "all":
                words[:], short = _all_typed(terminal, count, known, of)
                return short
            if answer == BACK and terminal.can_go_back:
                raise BackError
            if answer == LEAVE:
                if wrong:
                    raise BadWordsError(
                        "These words are not valid recovery words: the checksum is wrong",
                        hint="compare them with your paper",
                    )
                raise LeftError
            if answer in map(str, range(1, count + 1)):
                number = int(answer)
                line = _plain(terminal.hidden(f"{of}Word {number}"))
                full = completed(line[0], known) if len(line) == 1 else None
                if full is not None:
                    words[number - 1] = full
                    return full != line[0]
                terminal.say("That word is not in the list. The word was not changed.")
                break
            terminal.say(f"Type the number of a word, or one of: {', '.join(ways)}")
            terminal.fresh()
        else:
            terminal.again()


def _plain(line: str) -> list[str]:
    return unicodedata.normalize("NFKD", line).lower().split()


def _show(terminal: Terminal, words: list[str]) -> None:
    for page in pages(words, *terminal.size, introduction=_SEEN):
        terminal.show_secret(page, "Compared?")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


# Shares


def _ask_shares(terminal: Terminal, number: int) -> Expected:
    """The secret of shares of so many words, and of its passphrase."""
    terminal.explain(f"Type your shares one after the other, {number} words each, in any order. They are not shown.")
    terminal.say("The first four letters of a word are enough.")
    while True:
        shares = ShareSet()
        while not shares.complete:
            if not _one_more(terminal, shares, number):
                shares = ShareSet()
        try:
            shares.check()
        except ShareError as error:
            terminal.say(_sentence(str(error)))
            terminal.say("None of them is used. Start again with the first share.")
            _go_on(terminal)
            continue
        passphrase = ask_passphrase(terminal, of_shares=True)
        if shares.exponent >= _SLOW:
            terminal.say("Your backup takes a lot of computing to open. This takes a while.")
        return Expected(shares.secret(passphrase))


def _one_more(terminal: Terminal, shares: ShareSet, number: int) -> bool:
    """A share is typed and taken; False where the person wants to begin with the first one again."""
    from embit.wordlists.slip39 import SLIP39_WORDS

    def problem(words: list[str]) -> str:
        try:
            Share.parse(words)
        except ShareError as error:
            return _sentence(str(error))
        return ""

    count = shares.count + 1
    words = _typed(terminal, number, SLIP39_WORDS, f"Share {count}, ", problem)
    try:
        shares.add(Share.parse(words))
    except ShareError as error:
        terminal.say(f"{_sentence(str(error))} It is not used.")
        return _go_on(terminal)
    wanted = shares.wanted()
    terminal.say(
        f"Share {count} was taken. Missing: {wanted}." if wanted else f"Share {count} was taken. That is enough."
    )
    return True


def _go_on(terminal: Terminal) -> bool:
    """Whether the shares that were taken are kept. BackError or LeftError where the person does not go on."""
    ways = {"next": "type another share; the ones taken so far are kept", "first": "start again with the first share"}
    ways |= {BACK: "back to the question before"} if terminal.can_go_back else {}
    way = terminal.choose("What now", {**ways, LEAVE: "stop here"})
    if way == BACK:
        raise BackError
    if way == LEAVE:
        raise LeftError
    return way == "next"


def ask_passphrase(terminal: Terminal, *, of_shares: bool = False) -> str:
    """The optional passphrase, typed twice; empty for none. That `of_shares` has ASCII's printable characters only."""
    what = "A passphrase makes a different wallet from the same shares" if of_shares else None
    what = what or "A passphrase (25th word) makes a different wallet from the same words"
    terminal.explain(f"{what}. Most wallets have none: press Enter.")
    while True:
        for _ in range(ATTEMPTS):
            text = terminal.hidden("Passphrase")
            if of_shares:
                try:
                    checked_passphrase(text)
                except ShareError as error:
                    terminal.say(_sentence(str(error)))
                    continue
            if text != text.strip():
                terminal.say("It begins or ends with a space, and that counts")
            if not text or terminal.hidden("Type it again") == text:
                return text
            terminal.say("The two do not match.")
        terminal.again()


# Is it the card's?


def check_backup(terminal: Terminal, same: Callable[[Expected], bool], words: Sequence[str] = ()) -> bool:
    """Offer to compare the backup on paper with the card, before money arrives. Whether that was done; declined in
    words otherwise.

    `same`: whether the card holds the wallet of these words. `words`: the card's own, where they are known still; then
    they can be seen once more. BadWordsError where the person leaves with words that are not the card's.
    """
    terminal.explain(
        "\nBefore you put money on the card, check that the words on your paper match it. Type them again, in full."
    )
    while True:
        for _ in range(ATTEMPTS):
            answer = terminal.ask(
                f'Press Enter to check the backup now, or type "{NO_CHECK}" to continue without checking'
            ).lower()
            if answer == NO_CHECK:
                return False
            if answer:
                terminal.say(f'Press Enter, or type "{NO_CHECK}".')
                terminal.fresh()
                continue
            with terminal.a_way_back():
                try:
                    typed = ask_seed(terminal, len(words) or None)
                except BackError:
                    continue
            if same(typed):
                terminal.say("Good: the words on your paper match this wallet.")
                return True
            terminal.say("These words (with this passphrase) belong to a different wallet, not to the card's.")
        ways = {"again": "type them again"} | ({"show": "see the card's words again"} if words else {})
        way = terminal.choose("What now", {**ways, LEAVE: "stop here; the backup is not checked"})
        if way == LEAVE:
            raise BadWordsError(
                "It was not confirmed that the backup is this card's wallet. Put no money on it",
                hint="find the right words, then run: cryptnoxctl backup check. Or start over: cryptnoxctl reset, "
                "then cryptnoxctl setup",
            )
        if way == "show":
            show(terminal, list(words))
