"""`image-tools`: what people use around the topics. It knows the records and the settings, not the service."""
