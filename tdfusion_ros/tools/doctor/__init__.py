"""``tdfusion doctor``: find what prevents the node from working on this machine."""
