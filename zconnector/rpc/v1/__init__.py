"""zconnector.v1: thin shells between gRPC and the queue's door."""
