"""The command line. The front door, `genzoo.__main__`, imports what a command needs."""
