"""What drives the real node: cameras in processes of their own, and a listener."""
