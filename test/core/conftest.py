"""Property-based tests draw the same examples each time."""

from hypothesis import settings

settings.register_profile('tdfusion', derandomize=True, database=None, deadline=None)
settings.load_profile('tdfusion')
