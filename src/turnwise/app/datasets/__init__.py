"""The data sets of a server: files in a folder, with an index of their rows and the report of their check."""
