"""The use cases: one file for each step on the path of a package, in the words of that path."""
