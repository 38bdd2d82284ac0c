"""How good a fusion, a detector or a segmenter is."""
