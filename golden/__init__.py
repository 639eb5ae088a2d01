"""What is true: quantization arithmetic, integer kernels, the graph, `.tflite` in and out, the integer runtime."""
