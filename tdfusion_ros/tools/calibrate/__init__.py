"""Estimate where a pixel of rgb lies in ir, out of pairs, picked points, or camera_info and TF."""
