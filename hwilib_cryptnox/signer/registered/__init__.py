"""Registered wallets of several keys: how a card signs for one, and how it is believed."""
