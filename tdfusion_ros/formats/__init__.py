"""Convert bytes from outside to frames, and results to messages and files."""
