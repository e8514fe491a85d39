//! Ready estimators: dummies, linear models, trees, forests, scalers, pipelines.
