//! Trees: one learner for single trees and forests.

mod bins;
mod boosting;
mod decision_tree;
mod evidence;
mod fit;
mod forest;
mod grow;
mod leafwise;
mod model;
mod nodes;

pub use bins::Resolution;
pub use boosting::{FittedBoosting, GradientBoosting};
pub use decision_tree::DecisionTree;
pub use forest::{Features, RandomForest};
pub use model::{FittedTrees, NodeView};
