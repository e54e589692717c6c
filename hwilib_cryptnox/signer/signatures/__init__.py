"""Making signatures: what a PSBT needs from the card, in which order, and what is remembered of it."""
