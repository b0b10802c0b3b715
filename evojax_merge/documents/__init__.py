"""Files that others wrote: bounded in size and depth, and checked before anything uses them."""
