//! Trees: one learner for single trees, forests and boosting.
//!
//! All grow on the same table of codes (`bins`), write the same nodes (`nodes`), hold to the same monotone constraints (`trend`), and predict and
//! are explained by the same code (`walk`, `shap`). They differ in the order of growth. A forest draws new features at each node, so it goes
//! depth first and counts what it drew (`grow`); boosting looks at all features, so a node's counts are its parent's less its sibling's, and it goes
//! where most is gained (`leafwise`).

mod bins;
mod evidence;
mod nodes;
mod ranked;
mod threads;
mod trend;
mod walk;

mod fit;
mod grow;
mod model;
mod shap;

mod decision_tree;
mod forest;

mod boosted;
mod boosting;
mod leafwise;
mod loss;
mod rounds;

pub use bins::Resolution;
pub use boosted::FittedBoosting;
pub use boosting::{EarlyStopping, GradientBoosting};
pub use decision_tree::DecisionTree;
pub use forest::{Features, RandomForest};
pub use model::{FittedTrees, NodeView};
pub use shap::ShapValues;
pub use trend::Trend;
