"""Measurements. `python -m bench` runs them all, `python -m bench NAME` one; each prints its figures."""
