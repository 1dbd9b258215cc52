"""The whole production stack on one machine, from wheels, for whoever wants to see it; the fault tests use the same.

`plan.py` decides on ports, secrets and settings, `parts.py` starts a process and ends it, `servers.py` knows how each
server is started, and `running.py` brings all of them up in the order of their need.
"""
