"""What is done with scenes before and while their pixels are read: found, opened, judged, placed, resampled."""
