"""From files on disk, in whatever layout, to the batch of a step."""
