"""Setting a card up: the questions, how far it came, and a backup that is typed in."""
