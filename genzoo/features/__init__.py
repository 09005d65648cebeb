"""What an image looks like to a network."""
