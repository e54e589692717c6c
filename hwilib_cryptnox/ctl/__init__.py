"""cryptnoxctl, the program for people: one module for each group of commands."""
