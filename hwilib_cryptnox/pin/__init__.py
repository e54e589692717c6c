"""Where a PIN comes from, and when it may be sent."""
