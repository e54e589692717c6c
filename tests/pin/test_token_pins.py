"""`pin/token_pins`: a token's PIN has few tries, and no rule spends one that nobody meant."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hwilib_cryptnox.errors import ApproverCanceledError, ApproverPinError, LeftError
from hwilib_cryptnox.pin import token_pins
from hwilib_cryptnox.pin.approver import TokenState
from hwilib_cryptnox.pin.token_pins import COMMAND, TokenPins
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.support.dialogues import LEFT, Scripted

WRONG, RIGHT = "wrong-1", "right 9 ü"


class FakeToken:
    """A token's PIN counter: what it says of itself, and which PINs it was given."""

    def __init__(self, tries: int = 3) -> None:
        self.tries = tries
        self.given: list[str] = []

    @property
    def state(self) -> TokenState:
        return TokenState("My token", "maker/model/1/My token", self.tries == 0, self.tries == 1, 0 < self.tries < 3)

    def login(self, pins: TokenPins) -> bool:
        """As the approver does it."""
        pin = pins.get(self.state)
        self.given.append(pin)
        if pin == RIGHT:
            self.tries = 3
            pins.accepted(self.state)
            return True
        self.tries -= 1
        pins.refused(self.state, pin)
        return False


@pytest.fixture(autouse=True)
def another_process() -> None:
    """What a process remembers is not there in another one."""
    token_pins._refused.clear()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def says(tmp_path: Path, text: str) -> dict[str, str]:
    """A command that prints a PIN and counts its runs."""
    (tmp_path / "answer").write_text(text)
    return {COMMAND: f"sh -c 'echo x >>{tmp_path}/runs; cat {tmp_path}/answer'"}


def runs(tmp_path: Path) -> int:
    file = tmp_path / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def nobody(question: str) -> str:
    raise AssertionError(f"nobody is asked: {question}")


def types(*pins: str, asked: list[str] | None = None) -> Callable[[str], str]:
    left = list(pins)

    def person(question: str) -> str:
        if asked is not None:
            asked.append(question)
        return left.pop(0)

    return person


def unable(settings: Settings | None = None) -> Settings:
    """No pinentry."""
    return settings or Settings(pinentry="/nonexistent/pinentry")


def test_a_command_gives_it(tmp_path: Path, state: State) -> None:
    token = FakeToken()
    (tmp_path / "answer").write_text(RIGHT)
    command = {COMMAND: f"sh -c 'echo $CRYPTNOX_TOKEN >{tmp_path}/token; cat {tmp_path}/answer'"}
    assert token.login(TokenPins(unable(), state, nobody, command))
    assert (tmp_path / "token").read_text() == "My token\n"
    assert token.given == [RIGHT]


def test_a_wrong_command_costs_one_try_in_all(tmp_path: Path, state: State) -> None:
    """However often programs run; a PIN that a person types brings the command back."""
    token, command = FakeToken(), says(tmp_path, WRONG)
    assert not token.login(TokenPins(unable(), state, environment=command))
    for _ in range(3):
        token_pins._refused.clear()
        with pytest.raises(ApproverPinError, match="a PIN was refused before"):
            token.login(TokenPins(unable(), state, environment=command))
    # The token does not tell that a wrong PIN was given: the note is enough.
    token.tries = 3
    with pytest.raises(ApproverPinError, match="a PIN was refused before"):
        token.login(TokenPins(unable(), state, environment=command))
    assert token.given == [WRONG] and runs(tmp_path) == 1
    assert token.login(TokenPins(unable(), state, types(RIGHT), command))
    (tmp_path / "answer").write_text(RIGHT)
    assert token.login(TokenPins(unable(), state, nobody, command))


def test_a_token_that_shows_a_wrong_pin_gets_none_by_itself(tmp_path: Path, state: State) -> None:
    """Another program was given it."""
    token = FakeToken(2)
    with pytest.raises(ApproverPinError, match="shows a wrong PIN"):
        token.login(TokenPins(unable(), state, environment=says(tmp_path, RIGHT)))
    assert not token.given and not runs(tmp_path)
    asked: list[str] = []
    assert token.login(TokenPins(unable(), state, types(RIGHT, asked=asked), {}))
    assert asked == ["PIN of the token My token (a wrong one was given before)"]


def test_killed_between_sending_and_the_answer(tmp_path: Path, state: State) -> None:
    """The note is on disk before the PIN leaves."""
    command = says(tmp_path, RIGHT)
    TokenPins(unable(), state, environment=command).get(FakeToken().state)
    assert list(json.loads((tmp_path / "state" / "tokens.json").read_text()).values()) == ["pending"]
    with pytest.raises(ApproverPinError, match="without a known end"):
        TokenPins(unable(), state, environment=command).get(FakeToken().state)


def test_a_state_that_cannot_be_written_keeps_the_command_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    token, state = FakeToken(), State(tmp_path / "file" / "state")
    with pytest.raises(ApproverPinError, match="is not used"):
        token.login(TokenPins(unable(), state, environment=says(tmp_path, RIGHT)))
    assert not token.given
    assert token.login(TokenPins(unable(), state, types(RIGHT), {})), "a person may"


def test_a_pin_refused_before_is_not_sent_again(tmp_path: Path, state: State) -> None:
    token = FakeToken()
    assert not token.login(TokenPins(unable(), state, types(WRONG), {}))
    with pytest.raises(ApproverPinError, match="was refused by the token My token before"):
        token.login(TokenPins(unable(), state, types(WRONG), {}))
    with pytest.raises(ApproverPinError, match="before"):
        TokenPins(unable(), state, environment=says(tmp_path, WRONG)).get(TokenState("a", FakeToken().state.identity))
    assert token.given == [WRONG]
    assert token.login(TokenPins(unable(), state, types(RIGHT), {}))


def test_the_last_try_is_not_spent(tmp_path: Path, state: State) -> None:
    token = FakeToken(1)
    with pytest.raises(ApproverPinError, match="one PIN try") as caught:
        token.login(TokenPins(unable(), state, nobody, says(tmp_path, RIGHT)))
    assert caught.value.left == 1 and not caught.value.spent and "CRYPTNOX_LAST_TRY" in caught.value.hint
    assert not token.given
    assert token.login(TokenPins(Settings(last_try=True), state, types(RIGHT), {}))


def test_a_locked_token_gets_none(tmp_path: Path, state: State) -> None:
    token = FakeToken(0)
    with pytest.raises(ApproverPinError, match="is locked") as caught:
        token.login(TokenPins(Settings(last_try=True), state, nobody, says(tmp_path, RIGHT)))
    assert caught.value.left == 0 and not token.given


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("false", "status 1"),
        ("sh -c 'exit 3'", "status 3"),
        ("/nonexistent", "No such file"),
        ("'", "quoting"),
        (" ", "empty"),
    ],
)
def test_a_command_that_fails_hands_on_to_the_person(command: str, reason: str, state: State) -> None:
    with pytest.raises(ApproverPinError, match=reason) as caught:
        FakeToken().login(TokenPins(unable(), state, environment={COMMAND: command}))
    assert "user-key test" in caught.value.hint
    assert FakeToken().login(TokenPins(unable(), state, types(RIGHT), {COMMAND: command}))


@pytest.mark.parametrize("text", ["", "\n", "a\tb", "x" * 200])
def test_what_is_no_pin_is_not_sent(text: str, tmp_path: Path, state: State) -> None:
    token = FakeToken()
    with pytest.raises(ApproverPinError, match="is not a PIN of a token"):
        token.login(TokenPins(unable(), state, environment=says(tmp_path, text)))
    with pytest.raises(ApproverPinError, match="is not a PIN of a token"):
        token.login(TokenPins(unable(), state, types(text), {}))
    assert not token.given


def test_pinentry_asks(tmp_path: Path, state: State) -> None:
    scripted = Scripted(tmp_path)
    scripted.answers(RIGHT)
    token = FakeToken()
    assert token.login(TokenPins(Settings(pinentry=str(scripted.program)), state, environment={}))
    assert any("PIN of the token My token" in line for line in scripted.log)


def test_leaving_the_dialogue(tmp_path: Path, state: State) -> None:
    scripted = Scripted(tmp_path)
    scripted.answers(LEFT)
    with pytest.raises(ApproverCanceledError):
        FakeToken().login(TokenPins(Settings(pinentry=str(scripted.program)), state, environment={}))

    def leaves(question: str) -> str:
        raise LeftError

    with pytest.raises(ApproverCanceledError):
        FakeToken().login(TokenPins(Settings(), state, leaves, {}))


def test_nothing_of_a_pin_is_kept(tmp_path: Path, state: State) -> None:
    token = FakeToken()
    token.login(TokenPins(unable(), state, types(WRONG), {}))
    pins = TokenPins(unable(), state, types("another"), says(tmp_path, WRONG))
    token.login(pins)
    folder = tmp_path / "state"
    for file in folder.rglob("*"):
        if file.is_file():
            assert WRONG not in file.read_text("utf-8", "replace") and "another" not in file.read_text(
                "utf-8", "replace"
            )
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert WRONG not in repr(pins)
