"""From files on disk, in any known layout, to the batch of a step."""
