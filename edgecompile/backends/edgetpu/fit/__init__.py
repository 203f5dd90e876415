"""Rewrites that bring ops onto the Edge TPU and keep what the model computes."""
