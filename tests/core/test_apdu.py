"""APDU coding: ISO 7816-4 short and extended forms, byte for byte."""

from __future__ import annotations

import pytest

from cryptnox_core.apdu import ByteReader, CommandApdu, Flow, ResponseApdu, drive
from cryptnox_core.errors import CryptnoxError, MalformedResponseError, UsageError


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (CommandApdu(0x80, 0xFA, 1, 2), "80FA0102"),
        (CommandApdu(0x80, 0xF4, 0, 0, le=0), "80F4000000"),
        (CommandApdu(0x00, 0xA4, 4, 0, b"\xaa\xbb"), "00A4040002AABB"),
        (CommandApdu(0x00, 0xA4, 4, 0, b"\xaa", le=5), "00A4040001AA05"),
        (CommandApdu(0x80, 0xFA, 0, 1, extended=True), "80FA0001000000"),
        (CommandApdu(0x80, 0xFA, 0, 1, b"\xaa", extended=True), "80FA0001000001AA"),
        (CommandApdu(0x80, 0xFC, 0, 0, bytes(255)), "80FC0000FF" + "00" * 255),
        (CommandApdu(0x80, 0xFC, 0, 0, bytes(256)), "80FC0000000100" + "00" * 256),
    ],
)
def test_encoding(command: CommandApdu, wire: str) -> None:
    assert command.encode().hex().upper() == wire


@pytest.mark.parametrize(
    "fields",
    [
        {"cla": 256},
        {"ins": -1},
        {"p1": 300},
        {"p2": 256},
        {"data": bytes(65536)},
        {"le": 256},
        {"le": -1},
        {"le": 0, "extended": True},
        {"le": 0, "data": bytes(256)},
    ],
)
def test_out_of_range(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        CommandApdu(**{"cla": 0, "ins": 0, "p1": 0, "p2": 0, **fields})


def test_response() -> None:
    response = ResponseApdu.parse(b"\x01\x02\x90\x00")
    assert (response.data, response.sw, response.ok) == (b"\x01\x02", 0x9000, True)
    assert not ResponseApdu.parse(b"\x63\xc2").ok
    for raw in (b"", b"\x90"):
        with pytest.raises(MalformedResponseError):
            ResponseApdu.parse(raw)


def test_content_is_not_shown() -> None:
    assert "secret" not in repr(CommandApdu(0, 0, 0, 0, b"secret"))
    assert "secret" not in repr(ResponseApdu(b"secret", 0x9000))


class TestReader:
    def test_fields(self) -> None:
        reader = ByteReader(bytes.fromhex("0102AABB00FF"), "X")
        assert (reader.number(1), reader.prefixed(), reader.prefixed(), reader.left) == (1, b"\xaa\xbb", b"", 1)
        assert reader.rest() == b"\xff"

    def test_too_few(self) -> None:
        with pytest.raises(MalformedResponseError, match="X"):
            ByteReader(b"\x05\x01", "X").prefixed()
        with pytest.raises(MalformedResponseError, match="X"):
            ByteReader(b"", "X").signature()

    @pytest.mark.parametrize(
        ("data", "signature"),
        [
            ("3006020101020102", "3006020101020102"),
            ("3006020101020102FFFF", "3006020101020102"),
            ("3006020101", "3006020101"),
            ("30810102", "30810102"),
            ("FF06020101", "FF06020101"),
            ("30", "30"),
        ],
    )
    def test_a_signature_is_as_long_as_it_says(self, data: str, signature: str) -> None:
        """What is none is left as it is, for the verification to refuse."""
        assert ByteReader(bytes.fromhex(data), "X").signature() == bytes.fromhex(signature)


class TestDrive:
    COMMAND = CommandApdu(0, 1, 2, 3)

    def flow(self, log: list[str]) -> Flow[int]:
        try:
            first = yield self.COMMAND
            second = yield self.COMMAND
        except CryptnoxError as error:
            log.append(repr(error))
            raise
        return first.sw + second.sw

    def test_result(self) -> None:
        answers = iter([ResponseApdu(b"", 1), ResponseApdu(b"", 2)])
        assert drive(self.flow([]), lambda command: next(answers)) == 3

    def test_failure_is_seen_by_the_flow_and_the_caller(self) -> None:
        log: list[str] = []

        def fail(command: CommandApdu) -> ResponseApdu:
            raise MalformedResponseError("broken")

        with pytest.raises(MalformedResponseError):
            drive(self.flow(log), fail)
        assert len(log) == 1
