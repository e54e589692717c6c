"""Conversations with the card as generators: they yield commands and are sent responses."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from cryptnox_core.apdu import CommandApdu, ResponseApdu

T = TypeVar("T")

Flow = Generator[CommandApdu, ResponseApdu, T]


def drive(flow: Flow[T], transmit: Callable[[CommandApdu], ResponseApdu]) -> T:
    """Run a flow to its end and return its result.

    An exception of `transmit` is thrown into the flow at the point of the command, so that a flow can leave its state
    consistent (a secure channel marks itself failed); it reaches the caller unless the flow handles it.
    """
    try:
        command = next(flow)
        while True:
            try:
                response = transmit(command)
            except BaseException as error:  # noqa: BLE001 - handed on to the flow, which re-raises
                command = flow.throw(error)
            else:
                command = flow.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()
