"""Look at a bag: an HTML report of what went in and what came out."""
