"""`python -m hwilib_cryptnox.hwi`."""

from hwilib_cryptnox.hwi import main

main()
