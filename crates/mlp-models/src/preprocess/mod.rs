//! Features made of features.

mod columns;
mod eigen;
mod encode;
mod impute;
mod pca;
mod polynomial;

pub use columns::ColumnTransform;
pub(crate) use columns::FittedColumns;
pub(crate) use encode::FittedEncoder;
pub use encode::{OneHotEncoder, OrdinalEncoder, Unknown};
pub(crate) use impute::FittedImputer;
pub use impute::{Fill, Imputer, Indicator};
pub use pca::{Components, FittedPca, Pca, Whiten};
pub(crate) use polynomial::FittedPolynomial;
pub use polynomial::{PolynomialFeatures, Powers};
