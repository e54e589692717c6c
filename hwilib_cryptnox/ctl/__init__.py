"""cryptnoxctl, the program for people. What its commands share is here; the commands are in `commands/`."""
