"""What turns bytes from outside into frames, and results into messages and files."""
