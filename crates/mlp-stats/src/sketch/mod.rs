//! What a stream was like, in constant memory, mergeable.

mod moments;
mod quantiles;

pub use moments::Moments;
pub use quantiles::QuantileSketch;
