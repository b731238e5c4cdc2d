"""A local Apache Kafka for tests and tries: one or three brokers, started in seconds, gone without a trace.

    with LocalKafka(brokers=3) as kafka:
        kafka.create_topic("image-urls", partitions=6)
        ...  # clients at kafka.bootstrap_servers
        kafka.kill(2)
        kafka.start(2)

It needs Java 17 or newer, and Maven for the first time (`jars`). `python -m ops.local_kafka` runs one
until Ctrl-C.
"""

from ops.local_kafka.cluster import LocalKafka
from ops.local_kafka.errors import LocalKafkaError

__all__ = ["LocalKafka", "LocalKafkaError"]
