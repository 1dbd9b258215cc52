"""Events on their way out of the outbox to Kafka, and what the platform says there on its way in.

`relay.py` carries and `consumer.py` reads; `bootstrap/relaying.py` makes both. The rows of the outbox are asked for in
`postgres/outbox.py`.
"""
