"""What surrounds the service: a local Apache Kafka, the image, Prometheus."""
