//! Tables, schemas, dataset versions and a feature store: the same offline and online.
