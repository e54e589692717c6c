"""One file a command or group of cryptnoxctl."""
