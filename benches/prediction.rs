//! What does a prediction cost: from the model itself, through a server, and from its cache?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mlp::core::{Estimator, Model, ModelExt, Router, VersionNumber, VersionSource};
use mlp::data::generate::make_classification;
use mlp::models::{LogisticRegression, RandomForest};
use mlp::rollback::{Change, Deployment, DeploymentConfig, VersionBundle};
use mlp::serve::{ServeOptions, Server};

fn models() -> Vec<(&'static str, Arc<dyn Model>, Vec<f64>)> {
    let table = make_classification(1_000, &Default::default(), 42).expect("data");
    let row = table.features().row(0).to_vec();
    let fit = |estimator: &dyn Estimator| -> Arc<dyn Model> {
        estimator.fit(table.samples().expect("samples"), 1).expect("a model")
    };
    vec![
        ("logistic", fit(&LogisticRegression::default()), row.clone()),
        ("forest_of_100", fit(&RandomForest::default().with_trees(100)), row),
    ]
}

/// A server whose versions and routes a deployment decides.
fn deployed(model: &Arc<dyn Model>) -> (Arc<Deployment<dyn Model>>, Server<dyn Model>) {
    let config = DeploymentConfig::default().with_seed(7);
    let deployment = Arc::new(Deployment::<dyn Model>::new(config).expect("a deployment"));
    let server = Server::routed(Arc::clone(&deployment) as Arc<dyn Router>).expect("a server");
    deployment.attach(&server.host());
    let (by, source) = (Change::by("bench"), VersionSource::shared(Arc::clone(model)));
    let version = deployment.register(VersionBundle::new("champion"), source, &by);
    deployment
        .deploy(version.expect("a version"), &by.because("it is the first"))
        .expect("it is deployed");
    (deployment, server)
}

fn prediction(criterion: &mut Criterion) {
    for (name, model, row) in models() {
        let mut group = criterion.benchmark_group(format!("one_row_of_20_features/{name}"));
        group
            .bench_function("model", |bencher| bencher.iter(|| model.predict_row(black_box(&row))));
        let serve = |options: ServeOptions| {
            Server::<dyn Model>::builder()
                .with_options(options)
                .fixed(VersionNumber(1), VersionSource::shared(Arc::clone(&model)))
                .expect("a server")
        };
        let server = serve(ServeOptions::default());
        group.bench_function("idle_server", |bencher| {
            bencher.iter(|| server.predict(black_box(row.clone())))
        });
        let deployed = deployed(&model);
        group.bench_function("idle_server_of_a_deployment", |bencher| {
            bencher.iter(|| deployed.1.predict(black_box(row.clone())))
        });
        let cached = serve(ServeOptions::default().with_cache_entries(100));
        group.bench_function("cached", |bencher| {
            bencher.iter(|| cached.predict(black_box(row.clone())))
        });
        group.finish();
    }
}

criterion_group!(benches, prediction);
criterion_main!(benches);
