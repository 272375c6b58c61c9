"""Commands that measure: agreement, accuracy, speed. None is needed to run the service."""
