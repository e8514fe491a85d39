//! Trees: one learner for single trees and forests.

mod bins;
mod decision_tree;
mod evidence;
mod fit;
mod forest;
mod grow;
mod model;
mod nodes;

pub use bins::Resolution;
pub use decision_tree::DecisionTree;
pub use forest::{Features, RandomForest};
pub use model::{FittedTrees, NodeView};
