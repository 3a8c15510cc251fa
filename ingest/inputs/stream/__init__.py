"""Streams: messages of a broker that can be read again, of Kafka and of NATS JetStream."""
