"""zconnector: a connector router for the Gandalf DevOps framework, on ZeroMQ."""

__version__ = "0.1.0"
