"""The subcommands of ``tdfusion``, a module each: ``add`` declares arguments, ``run`` runs it."""
