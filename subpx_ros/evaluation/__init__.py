"""Trajectories against ground truth: files, metrics, run outputs and plots."""
