"""What is kept on this computer, per user."""
