"""Where quantized networks come from: quantization after training, and training, to `.tflite`."""
