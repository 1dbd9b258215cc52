"""Events on their way out of the outbox to Kafka, and back in to whoever listens.

`relay.py` carries and `consumer.py` reads; `plugyard.bootstrap` makes both. The rows of the outbox are asked for in
`postgres/outbox.py`.
"""
