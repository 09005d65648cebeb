"""Report cards, which are read, compared and written without torch."""
