"""A line to the card that is disturbed or breaks: what is asked again, and what is sent once only."""
