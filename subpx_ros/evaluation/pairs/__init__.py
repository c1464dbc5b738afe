"""Benchmarks on image pairs: relative pose, fundamental matrix, homography."""
