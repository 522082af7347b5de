"""Training: labelled scenes -> crops -> a network -> weights."""
