"""One signature that a user key approves, made although the line breaks: what was approved is not asked for again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.derivation import Position, Sign
from cryptnox_core.errors import CertificateError, ProtocolError, TransportError
from cryptnox_core.wire import SignatureKind, Source
from hwilib_cryptnox.errors import CardNotFoundError
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.signer.faults.heard import until_back

_FAULTS = 3
"""How often the card is opened anew before it is given up."""


def signing_step(position: Position, path: Path) -> Sign:
    """The SIGN for a key while a digest waits that a user key approved: nothing is derived then but within it, from the
    current key where that lies above, else from the master key."""
    above = position.current
    if above is not None and 0 < above.depth <= path.depth and path.steps[: above.depth] == above.steps:
        return Sign(0, path, Source.CURRENT, path.below(above))
    return Sign(0, path, Source.MASTER, path)


def approved_signature(
    approval: Approval,
    digest: bytes,
    public_key: bytes,
    path: Path,
    kind: SignatureKind = SignatureKind.ECDSA,
    *,
    opened: Callable[[], tuple[Card, Position]],
    reopen: Callable[[], None],
    wait: float,
) -> bytes:
    """A signature (DER, or 64 bytes of BIP340) over 32 bytes that a person agreed to, verified with the key at `path`.
    `opened` gives the open card and where it stands, `reopen` opens it again after a fault, which may take `wait`
    seconds.

    Raises: what `Approval.authorize` and `Card.sign` raise; the fault where the card does not come back.
    """
    approval.plan(0, approval.needed([digest]))
    approval.review([digest])
    for left in reversed(range(_FAULTS + 1)):
        card, position = opened()
        step = signing_step(position, path)
        suffix = step.suffix if step.suffix.depth else None
        try:
            approval.authorize(card, [digest])
            return card.sign(digest, None, public_key=public_key, path=suffix, source=step.source, kind=kind)
        except (TransportError, ProtocolError) as error:
            if not left or isinstance(error, CertificateError):
                raise
            with contextlib.suppress(TransportError, CardNotFoundError):
                until_back(wait, reopen)
                continue
            raise
    raise TransportError("the card does not answer")
