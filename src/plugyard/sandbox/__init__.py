"""The sandbox: two walls around a plugin's code and the broker that believes neither.

The folder says which side of the walls a module runs on: `inside/` runs in the zygote and in jailed processes,
`outside/` and `services/` run in the service, `jail/` is wall 2 itself, and `wire.py` is all that both sides share.
"""
