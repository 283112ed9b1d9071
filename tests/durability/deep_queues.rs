//! deep_queues
