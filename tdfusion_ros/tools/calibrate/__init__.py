"""Estimate which ir pixel belongs to each rgb pixel, from pairs, points, or camera_info."""
