//! Where a model comes from: record it, ask for its ancestry and the impact of a dataset, verify it, tamper with it, verify again.

use std::error::Error;
use std::fs;

use mlp::core::{Clock, ContentHash, DatasetRef, ModelName, SystemClock};
use mlp::lineage::{
    ArtifactStoreExt, Deployment, EnvironmentCapture, Event, FileArtifactStore,
    InMemoryLineageStore, LineageGraph, LineageStoreExt, Node, Record, capture_code, diff,
    verify_artifacts, verify_chain,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let artifacts = FileArtifactStore::open(folder.path())?;
    let (lineage, clock) = (InMemoryLineageStore::new(), SystemClock::new());
    let model: ModelName = "wine".parse()?;
    let fingerprint: ContentHash = "ab".repeat(32).parse()?;
    let wine = DatasetRef { name: "wine-quality".into(), version: "1".into(), fingerprint };

    let first = Record::new(model, clock.now())
        .with_author("ann")
        .with_dataset("training", wine)
        .with_code(capture_code("."))
        .with_environment(EnvironmentCapture::new().capture()?)
        .with_parameter("trees", 100)
        .with_seed("split", 42)
        .with_artifact("model", artifacts.put_bytes(b"the weights of a hundred trees")?);
    lineage.record(first.clone())?;
    let before_second = clock.now();
    let mut second = Record::new(first.model.clone(), clock.now())
        .with_parameter("trees", 200)
        .with_artifact("model", artifacts.put_bytes(b"the weights of two hundred trees")?)
        .with_parent(first.id);
    (second.code, second.environment) = (first.code.clone(), first.environment.clone());
    lineage.record(second.clone())?;
    let deployment = Deployment {
        record: second.id,
        target: "production/eu".into(),
        at: clock.now(),
        by: Some("ann".into()),
    };
    let head = lineage.deployed(deployment)?;

    println!("What changed from the first to the second");
    for change in diff(&first, &second) {
        println!("  {change}");
    }
    let graph = lineage.graph()?;
    println!("\nAncestry, as Mermaid\n{}", graph.to_mermaid());
    let reached = graph.descendants(&Node::Dataset(fingerprint));
    println!("The dataset reached {} records and deployments", reached.len());
    let mut entries = lineage.all_entries()?;
    let then = LineageGraph::as_of(&entries, before_second);
    println!(
        "Before the second record it had reached {}",
        then.descendants(&Node::Dataset(fingerprint)).len()
    );

    println!("\nVerified: chain {:?}", verify_chain(&entries, Some(head))?);
    let report = verify_artifacts(&[first.clone(), second.clone()], &artifacts)?;
    println!("Verified: {} artifacts intact, {} altered", report.intact, report.altered.len());

    println!(
        "\nNow somebody changes the number of trees in the first record, and a byte of its weights"
    );
    if let Event::Recorded(record) = &mut entries[0].event {
        record.configuration.insert("trees", 101);
    }
    let name = first.artifacts["model"].hash.to_string();
    let path = folder.path().join("objects").join(&name[..2]).join(&name);
    fs::remove_file(&path)?;
    fs::write(&path, b"the weights of a hundred treeS")?;

    let fault =
        verify_chain(&entries, Some(head))?.ok_or("the change of the record went unseen")?;
    println!("Verified: {fault}");
    let report = verify_artifacts(&[first, second], &artifacts)?;
    println!("Verified: {} artifact intact, altered: {:?}", report.intact, report.altered);
    if report.altered.len() == 1 {
        Ok(())
    } else {
        Err("the change of the artifact went unseen".into())
    }
}
