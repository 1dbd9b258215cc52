"""The gate: decides from a package's bytes alone whether it may enter, and says everything that speaks against it.

``inspect.inspect`` is the check itself, a pure function that the author's command line calls on its own machine;
``jailed.JailedInspector`` runs the same function in a jailed process for the service.
"""
