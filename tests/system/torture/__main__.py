"""`python -m tests.system.torture`."""

import sys

from tests.system.torture.run import main

sys.exit(main())
