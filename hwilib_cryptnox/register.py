"""Where the start-up file that `cryptnoxctl hwi enable` writes looks for the registration."""

from __future__ import annotations

import sys

from hwilib_cryptnox.plugin import register

sys.modules[__name__] = register
