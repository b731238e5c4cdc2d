"""Image-URL events in, predictions out. Start reading at `consumer.service`."""
