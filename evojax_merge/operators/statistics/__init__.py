"""What is computed once of whole tensors before a search, and kept on disk."""
