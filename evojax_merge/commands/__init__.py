"""The commands, each in a module of its name that imports what it alone needs."""
