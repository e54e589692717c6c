"""Curves, hashes and AES, as far as the card and its wallet need them."""
