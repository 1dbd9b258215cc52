"""The one error of the command line."""


class Failure(Exception):
    """Something that the user has to know, in one or a few lines; the command ends with status 1."""
