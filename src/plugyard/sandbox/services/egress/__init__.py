"""The parts of the `http` service: how an address is read, what a grant allows, where a name may lead, what is sent.

`plugyard.sandbox.services.http` puts them together; each part is a rule that can be read and tested by itself.
"""
