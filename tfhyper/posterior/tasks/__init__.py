"""What the outputs of a network mean: each task in a file of its own."""
