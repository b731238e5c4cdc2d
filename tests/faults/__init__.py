"""The fault suite: real processes of the service on a three-broker Apache Kafka, and everything that goes wrong.

::

    scenarios.py   what goes wrong, a scenario a line
    faults.py      the faults themselves: each is done to a run, and undone
    run.py         one scenario: instances up, events in, faults on, every outcome waited for
    feed.py        the events
    audience.py    readers of outcomes and dead letters, and of the committed offsets (watch.py)
    tally.py       counts: lost, doubled, reordered, visible though aborted, committed too far, silence
    report.py      what came of it; table.py shows it
    arena.py       the brokers, the proxy before them, the pictures
    process.py     one service process, from the outside
    instance.py    one service process, from the inside: where it dies (fate.py), what is broken (breakages.py)
    __main__.py    `make chaos`: the large form and its table
"""
