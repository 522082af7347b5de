"""What a prediction is worth: pixels, outlines, buildings, seams."""
