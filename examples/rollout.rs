//! A good version on its way: shadow, canary by steps, promotion on evidence, a drill, a rollback, and a flag for a few users first.
//!
//! ```sh
//! cargo run --release --example rollout
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mlp::core::{
    Health, Host, HostError, Lifecycle, Outcome, OutcomeStatus, RequestKey, Router, VersionNumber,
    VersionSource,
};
use mlp::rollback::{
    CanaryPlan, Change, Deployment, DeploymentConfig, FileJournal, Flag, Rule, Share, VersionBundle,
};

/// A stand-in for a server: a deployment asks to prepare and retire, and never calls a model.
#[derive(Debug)]
struct Platform;

impl Host<str> for Platform {
    fn prepare(&self, _: VersionNumber, source: VersionSource<str>) -> Result<(), HostError> {
        source
            .build()
            .map(|_| ())
            .map_err(|source| HostError::Build { version: VersionNumber(0), source })
    }

    fn health(&self, _: VersionNumber) -> Health {
        Health { lifecycle: Lifecycle::Ready, ready_replicas: 1, replicas: 1, requests: 0 }
    }

    fn retire(&self, version: VersionNumber) {
        println!("the platform lets go of {version}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let journal = Arc::new(FileJournal::open(folder.path().join("deployment.journal"))?);
    let config = DeploymentConfig::default().with_name("wine").with_seed(7);
    let deployment = Deployment::<str>::builder(config).journal(journal).open()?;
    let platform: Arc<dyn Host<str>> = Arc::new(Platform);
    deployment.attach(&platform);
    let lead = Change::by("lead");
    let register = |name: &str| {
        let source = VersionSource::shared(Arc::from(name));
        deployment.register(VersionBundle::new(name).with_feature_set("wine@3"), source, &lead)
    };
    let old = register("forest")?;
    deployment.deploy(old, &lead)?;
    let new = register("boosting")?;

    let plan = CanaryPlan::stepping(Share::percent(20.0)?, Share::percent(50.0)?)?;
    deployment.start_canary(new, plan.with_step_requests(100), &lead)?;
    println!("{new} starts at {}", deployment.status().version(new).ok_or("gone")?.share);
    for request in 0..50_000 {
        let route = deployment.route(&RequestKey::new(request));
        let latency = Duration::from_micros(300);
        deployment.observe(&Outcome::new(&route, OutcomeStatus::Answered, latency));
        // A server would leave this to an `AutoRollback` thread.
        for change in if request % 50 == 0 { deployment.tick() } else { Vec::new() } {
            println!(
                "request {request:>6}: {}",
                change.to_string().split_once(' ').map_or("", |text| text.1)
            );
        }
        if deployment.active() == Some(new) {
            break;
        }
    }
    if deployment.active() != Some(new) {
        return Err("the canary was not promoted".into());
    }

    let drill = deployment.drill(&Change::by("lead").because("quarterly"))?;
    println!(
        "\ndrill: {} → {} would take {:?}; served: {:?}",
        drill.from,
        drill.to,
        drill.took,
        deployment.active()
    );
    let seen = deployment.generation();
    deployment.rollback(&Change::by("lead").because("a customer asks"))?;
    println!("rolled back to {:?}", deployment.active());
    match deployment.deploy(new, &Change::by("somebody").at_generation(seen)) {
        Err(error) => println!("a change on old knowledge is refused: {error}"),
        Ok(_) => return Err("a stale change was taken".into()),
    }

    let country = Rule::OneOf { attribute: "country".to_owned(), values: ["NL".to_owned()].into() };
    let flag = Flag::new("boosting", 10)?.with_rule(country)?;
    deployment.start_flag(new, flag.clone(), &lead)?;
    let users: Vec<_> = (0..1_000).map(|user| format!("user-{user}")).collect();
    let with_new = |country: &str| {
        let attributes = [("country", country)];
        let gets = |user: &&String| {
            let request = RequestKey::new(0).with_unit(user).with_attributes(&attributes);
            deployment.route(&request).version == new
        };
        users.iter().filter(gets).count()
    };
    println!();
    for percent in [10, 25, 50] {
        deployment.set_flag(new, flag.clone().at_percent(percent)?, &lead)?;
        let (nl, de) = (with_new("NL"), with_new("DE"));
        println!("flag at {percent} %: {nl} of 1,000 users in NL get {new}, and {de} in DE");
    }

    println!("\nhistory");
    for entry in deployment.history() {
        println!("  {entry}");
    }
    Ok(())
}
