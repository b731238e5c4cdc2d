"""What can go wrong with a local Kafka, told in words."""


class LocalKafkaError(Exception):
    """The broker could not be had, started or stopped; the message says why and shows its log's end."""
