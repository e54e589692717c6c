"""Where the start-up file that earlier versions wrote (`cryptnoxctl hwi enable`) looks for the registration."""

from __future__ import annotations

import sys

from hwilib_cryptnox.plugin import register

sys.modules[__name__] = register
