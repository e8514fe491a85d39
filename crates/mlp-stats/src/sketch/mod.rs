//! What a stream was like, in constant memory, mergeable.

mod moments;
mod quantiles;
mod stored;
mod winsor;

pub use moments::Moments;
pub use quantiles::QuantileSketch;
pub use winsor::Winsor;
