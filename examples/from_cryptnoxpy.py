"""The examples of the vendor's README, done with this library.

`python examples/from_cryptnoxpy.py STEP`, with a card in a reader; an emulated card's `tcp:HOST:PORT` goes after it.
STEP is `connect`, `verify-pin` or `generate-seed`. A seed that the card makes by itself has no backup: for money use
`cryptnoxctl setup`.
"""

import getpass
import sys

from cryptnox_core import Card, CryptnoxError, NoReaderError, NotAllowedError, PinLockedError, WrongPinError, open_card


def connect(card: Card) -> None:
    print(f"Card serial number: {card.serial}")


def verify_pin(card: Card) -> None:
    card.verify_pin(ask_pin(card))
    print("The PIN is correct. The card is ready.")


def generate_seed(card: Card) -> None:
    pin = ask_pin(card)
    try:
        key_id = card.generate_key(pin)
    except NotAllowedError:
        sys.exit("There is already a seed on this card. Nothing was changed.")
    print(f"Id of the seed's primary key: {key_id.hex() or 'this card does not say'}")


def ask_pin(card: Card) -> str:
    if not card.info.initialized:
        sys.exit("This card has no PIN yet: cryptnoxctl setup")
    return getpass.getpass(f"PIN of card {card.serial} (at most {card.pin_tries_left()} tries left): ")


STEPS = {"connect": connect, "verify-pin": verify_pin, "generate-seed": generate_seed}

if len(sys.argv) not in (2, 3) or sys.argv[1] not in STEPS:
    sys.exit(__doc__)
try:
    with open_card(sys.argv[2] if len(sys.argv) == 3 else None) as card:  # the card is reset and released at the end
        STEPS[sys.argv[1]](card)
except NoReaderError:
    sys.exit("There is no card reader.")
except WrongPinError as error:
    sys.exit(f"Wrong PIN; at most {error.left} tries left.")
except PinLockedError:
    sys.exit("No PIN is accepted now: remove the card and put it back.")
except CryptnoxError as error:  # all errors of the library, a PIN that is none included
    sys.exit(f"Error: {error}")
