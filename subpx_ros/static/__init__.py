"""The stages with a fixed keypoint budget and masks, for a GPU: nothing waits for a number from it before the end."""
