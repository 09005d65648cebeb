"""Report cards: read, compared and written anew without torch."""
