"""Reports as web pages of one file, which fetch nothing and in which no text of strangers acts."""
