"""The command line. `genzoo.__main__` imports a command's module only when it is run."""
