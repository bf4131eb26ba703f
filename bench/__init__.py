"""Quality and speed, measured. Each module is a program: python -m slipcast.bench.<name>."""
