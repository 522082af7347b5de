"""The networks of TernausNet's family and what runs them. Torch only."""
