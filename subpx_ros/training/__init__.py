"""The offline module: training pairs, stored matches, the training loop. The node and the odometry never import it."""
