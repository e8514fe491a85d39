//! A bad challenger under real traffic: the evidence grows request by request until the deployment rolls back, then the post-mortem.
//!
//! ```sh
//! cargo run --release --example canary
//! ```

use std::error::Error;
use std::sync::Arc;

use mlp::core::{Model, ModelError, Router, Scratch, Signature, VersionNumber, VersionSource};
use mlp::rollback::{
    CanaryPlan, Change, Deployment, DeploymentConfig, Evidence, Share, VersionBundle,
};
use mlp::serve::Server;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// Adds its features, and fails for a part of the inputs.
#[derive(Debug)]
struct Sum {
    signature: Signature,
    fails_below: f64,
}

impl Model for Sum {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        if rows.column(0).iter().any(|value| *value < self.fails_below) {
            return Err(ModelError::InvalidInput { reason: "cannot cope with that".to_owned() });
        }
        out.column_mut(0).assign(&rows.sum_axis(Axis(1)));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }
}

fn source(fails_below: f64) -> VersionSource<dyn Model> {
    let signature = Signature::regressor(["a", "b"], "sum");
    VersionSource::shared(Arc::new(Sum { signature, fails_below }))
}

fn evidence(deployment: &Deployment<dyn Model>, version: VersionNumber) -> Option<Evidence> {
    deployment.status().version(version)?.evidence
}

fn main() -> Result<(), Box<dyn Error>> {
    let deployment =
        Arc::new(Deployment::<dyn Model>::new(DeploymentConfig::default().with_seed(7))?);
    let server = Server::routed(Arc::clone(&deployment) as Arc<dyn Router>)?;
    deployment.attach(&server.host());

    let lead = Change::by("lead");
    let champion = deployment.register(VersionBundle::new("champion"), source(0.0), &lead)?;
    deployment.deploy(champion, &lead.clone().because("first version"))?;
    let challenger = deployment.register(VersionBundle::new("challenger"), source(0.1), &lead)?;
    let plan = CanaryPlan::fixed(Share::percent(20.0)?)?;
    deployment.start_canary(challenger, plan, &lead.because("cheaper"))?;

    println!("{challenger} answers 20 % and fails for one input in ten; allowed is 1 %.");
    println!("It is rolled back when the e-value reaches 100, whenever one looks.\n");
    println!("{:>8} {:>8} {:>8} {:>12}", "request", "asked", "failed", "e-value");
    let mut errors = u64::MAX;
    for request in 0..20_000_u32 {
        let value = f64::from(request.wrapping_mul(2_654_435_761) >> 8) / f64::from(1_u32 << 24);
        // Some answers are errors: that is what the example is about, and the deployment hears of each.
        let _ = server.predict(vec![value, f64::from(request)]);
        let Some(now) = evidence(&deployment, challenger) else {
            println!("{request:>8} {:>8} {:>8} rolled back", "", "");
            break;
        };
        if now.errors != errors {
            errors = now.errors;
            let e_value = now.log_e_above.exp();
            println!("{request:>8} {:>8} {:>8} {e_value:>12.3}", now.requests, now.errors);
        }
    }

    let story = deployment.latest_post_mortem().ok_or("the challenger was not rolled back")?;
    println!("\n{story}");
    println!("{} serves.", server.predict(vec![0.5, 0.5])?.version);
    if deployment.active() != Some(champion) || story.incident.from != Some(challenger) {
        return Err("the champion should serve again".into());
    }
    Ok(())
}
