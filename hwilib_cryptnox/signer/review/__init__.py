"""What a person is shown before they agree, in a dialogue, on a terminal or as data."""
