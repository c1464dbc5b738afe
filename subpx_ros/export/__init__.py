"""Detector, matcher and refiner as ONNX files, and whether onnxruntime makes of them what PyTorch does."""
