"""`python -m hwilib_cryptnox.hwi`."""

from hwilib_cryptnox.hwi.program import main

if __name__ == "__main__":
    main()
