"""The system without anything installed: drawn garments, their image server, an embedded broker, the training."""
