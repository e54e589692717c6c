"""Extension for Specter Desktop 2.1, where it was installed by pip into the same environment as this package.

Start it with `SPECTER_CONFIG=hwilib_cryptnox.specter.SpecterConfig specter server` (with `--hwibridge` too).
Nothing else imports `service` and `controller`, so Specter is no dependency of anything; the other modules need none.
"""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """Load the configuration when Specter asks for it (PEP 562)."""
    if name != "SpecterConfig":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hwilib_cryptnox.specter.service import SpecterConfig

    return SpecterConfig
