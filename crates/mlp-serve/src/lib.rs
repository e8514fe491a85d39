//! Replicated prediction servers in process: batching, caching, health, drain.
