"""One class per instruction of the applet."""
