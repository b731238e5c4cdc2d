"""From topic to topic: intake, order, publication.

`core` decides and `ledger` keeps the order; both are pure. `source` and `publisher` (`exactly_once` or
`at_least_once`, over an `outbox`) are the Kafka clients around them, `loop` is the thread that turns.
Nothing here knows images or models.
"""
