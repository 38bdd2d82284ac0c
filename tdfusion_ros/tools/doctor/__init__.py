"""``tdfusion doctor``: what stands in the way on this machine, and what to do about it."""
