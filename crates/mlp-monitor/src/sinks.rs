//! Where notifications go: memory, a channel, a file. Sinks of one's own implement [`AlertSink`](mlp_core::AlertSink).

mod channel;
mod json_lines;
mod memory;

pub use channel::ChannelSink;
pub use json_lines::JsonLinesSink;
pub use memory::MemorySink;
