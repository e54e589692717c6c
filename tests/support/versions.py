"""What the version of another implementation that is installed can be asked about."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.version import Version

from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy

EMBIT = Version(metadata.version("embit"))
EMBIT_KNOWS_SCRIPT_PATHS = pytest.mark.skipif(
    Version("0.8") > EMBIT, reason=f"embit {EMBIT} is no judge here: annex, leaves and script path came with 0.8"
)


def parsed(text: str) -> WalletPolicy:
    """A wallet's policy. Leaves of taproot came to embit with 0.8: before they are refused with the reason, and there
    is nothing more to test."""
    try:
        return WalletPolicy.parse(text)
    except PolicyError as error:
        if Version("0.8") <= EMBIT or f"embit {EMBIT} does not know tr" not in str(error):
            raise
    pytest.skip(f"embit {EMBIT} knows no leaves of taproot")
