"""The gRPC worker service: the door that workers in any language use."""
