//! Features by name and version: register, compute offline, serve online, travel in time.
//!
//! `cargo run --release --example features`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mlp::core::{Scratch, Signature, Timestamp, Transformer};
use mlp::data::online::{
    Event, Found, Knowledge, MemoryOnlineStore, OnlineOptions, OnlineStore, OnlineStoreExt,
};
use mlp::data::{
    DerivedFeatures, FeatureSetSpec, FeatureStore, Fill, FillMissing, Formula, Nulls, ReadOptions,
    RowCodec, load_transform, read_csv_from,
};

/// What is known of each customer at the end of a day; one visit count was lost.
const FILE: &str = "\
customer,visits,spent,refunds
anna,10,200,1
ben,4,60,3
carla,,90,0
dora,25,1000,2
";

fn main() -> Result<(), Box<dyn Error>> {
    let options = ReadOptions::new().with_row_ids("customer").with_missing([""]);
    let table = read_csv_from(FILE.as_bytes(), "customers.csv", &options)?;
    println!("1. read: {} customers, columns {}", table.n_rows(), table.names().join(", "));

    let store = FeatureStore::new();
    let fill = FillMissing::new(Fill::Median).fit(table.samples()?, 0)?;
    let fill = store.register_transform("fill", fill)?;
    let derived = DerivedFeatures::new([
        ("spent_per_visit", Formula::ratio("spent", "visits")),
        ("refund_share", Formula::ratio("refunds", "visits")),
    ])?;
    let derived = store.register_transform("derived", Arc::new(derived))?;
    let spec = FeatureSetSpec::new(table.names().to_vec())
        .with_transform(&fill)
        .with_transform(&derived)
        .with_features(["visits", "spent_per_visit", "refund_share"]);
    let all = store.register_set("customer", spec)?;
    let set = store.register_selection(all.name(), &["spent_per_visit", "refund_share"])?;
    println!(
        "2. registered: {fill}, {derived}, {}; a selection of it is {}",
        all.name(),
        set.name()
    );

    let offline = set.compute(&table)?;
    println!("3. offline, with the missing count filled by its median:");
    for (id, row) in offline.row_ids().unwrap_or_default().iter().zip(offline.features().rows()) {
        println!("   {id:<6} {:>8.2} spent a visit {:>6.2} refunds a visit", row[0], row[1]);
    }

    let file = std::env::temp_dir().join(format!("mlp-features-{}.store", std::process::id()));
    store.save_file(&file)?;
    let reloaded = FeatureStore::load_file(&file, load_transform)?;
    std::fs::remove_file(&file)?;
    let again = reloaded.set(set.name())?;
    let codec = RowCodec::new(&Signature::regressor(table.names().to_vec(), "revenue"))
        .with_nulls(Nulls::Missing);
    let raw = codec.encode_json(r#"{"refunds": 0, "spent": 90, "visits": null}"#)?;
    let mut online = [0.0; 2];
    again.compute_row(&raw, &mut online, &mut Scratch::new())?;
    let same =
        online.iter().zip(offline.features().row(2)).all(|(a, b)| a.to_bits() == b.to_bits());
    println!("4. online, from JSON, with the store read back from disk: the same bits: {same}");
    let error = codec.encode_json(r#"{"refunds": "none", "spend": 90, "visits": 6}"#).err();
    println!("   and a bad request: {}", error.ok_or("a bad request was taken")?);

    let day = |day: u64| Timestamp::UNIX_EPOCH.after(Duration::from_secs(86_400 * day));
    let freshness = Duration::from_secs(86_400 * 7);
    let serving = MemoryOnlineStore::new(
        offline.names().to_vec(),
        OnlineOptions::new().with_freshness(freshness),
    )?;
    serving.put_table(&offline, &[day(10); 4])?;
    // A refund of day 12 that was booked on day 15.
    serving.put(Event { entity: "anna", at: day(12), arrived: day(15), values: &[20.0, 0.3] })?;
    println!("5. time travel: what was known of anna");
    let questions: Vec<_> = [9, 11, 13, 16, 30].map(|moment| ("anna", day(moment))).to_vec();
    let then = serving.training_rows(&questions, Knowledge::AtTheTime)?;
    let now = serving.training_rows(&questions, Knowledge::Now)?;
    for (question, moment) in [9, 11, 13, 16, 30].into_iter().enumerate() {
        let show = |found: Found, share: f64| match found {
            Found::Fresh(_) => format!("{share:.2} refunds a visit"),
            Found::Stale(_) => "stale".to_owned(),
            Found::Absent | Found::Forgotten => "nothing".to_owned(),
        };
        let known_then = show(then.found[question], then.features[[question, 1]]);
        let known_now = show(now.found[question], now.features[[question, 1]]);
        println!("   as of day {moment:>2}: {known_then:<22} seen from today: {known_now}");
    }
    if same { Ok(()) } else { Err("offline and online features differ".into()) }
}
