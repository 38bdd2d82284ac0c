"""One module for each subcommand of ``tdfusion``: ``add`` says what it takes, ``run`` does it."""
