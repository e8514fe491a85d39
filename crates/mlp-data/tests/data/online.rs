//! Look-ups into the past, against an oracle that reads every event.

use std::time::Duration;

use mlp_core::{StoreError, Timestamp};
use mlp_data::Table;
use mlp_data::online::{
    Event, Found, Knowledge, MemoryOnlineStore, OnlineOptions, OnlineStore, OnlineStoreExt, testing,
};
use ndarray::array;
use proptest::prelude::*;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    testing::check(|features, options| MemoryOnlineStore::new(features, options).unwrap());
}

#[test]
fn entities_are_bounded() {
    let options = OnlineOptions::new().with_max_entities(2);
    let store = MemoryOnlineStore::new(["x"], options).unwrap();
    let put = |entity| store.put(Event { entity, at: at(0), arrived: at(0), values: &[1.0] });
    put("a").unwrap();
    put("b").unwrap();
    put("a").unwrap();
    assert!(matches!(put("c"), Err(StoreError::LimitExceeded { given: 3, limit: 2, .. })));
    assert_eq!(store.len(), 2);
    assert!(MemoryOnlineStore::new(["x", "x"], OnlineOptions::new()).is_err());
    assert!(MemoryOnlineStore::new(["x"], OnlineOptions::new().with_max_events(0)).is_err());
}

#[test]
fn a_table_of_features_is_put_by_its_row_ids() {
    let store = MemoryOnlineStore::new(["x", "y"], OnlineOptions::new()).unwrap();
    let bare = Table::new(["x", "y"], array![[1.0, 2.0], [3.0, 4.0]]).unwrap();
    let table = bare.clone().with_row_ids(["p", "q"]).unwrap();
    store.put_table(&table, &[at(1), at(2)]).unwrap();
    let rows = store.training_rows(&[("q", at(2)), ("q", at(1))], Knowledge::AtTheTime).unwrap();
    assert_eq!(rows.found, [Found::Fresh(at(2)), Found::Absent]);
    assert_eq!(rows.features.row(0).to_vec(), [3.0, 4.0]);
    assert!(rows.features[[1, 0]].is_nan());
    assert!(store.put_table(&table, &[at(1)]).is_err());
    assert!(store.put_table(&bare, &[at(1), at(2)]).is_err());
    assert!(store.put_table(&table.select_columns(&["y", "x"]).unwrap(), &[at(1); 2]).is_err());
}

/// Entity, time, arrival; the value is the position in the list.
type Put = (u8, i64, i64);

fn oracle(
    events: &[Put],
    entity: u8,
    moment: i64,
    knowledge: Knowledge,
    freshness: Option<u64>,
) -> (Found, f64) {
    let mut best: Option<(i64, i64, usize)> = None;
    for (position, &(owner, time, arrived)) in events.iter().enumerate() {
        let known = knowledge == Knowledge::Now || arrived <= moment;
        if owner == entity
            && time <= moment
            && known
            && best.is_none_or(|b| b <= (time, arrived, position))
        {
            best = Some((time, arrived, position));
        }
    }
    match best {
        None => (Found::Absent, f64::NAN),
        Some((time, ..)) if freshness.is_some_and(|age| (moment - time) as u64 > age) => {
            (Found::Stale(at(time)), f64::NAN)
        }
        Some((time, _, position)) => (Found::Fresh(at(time)), position as f64),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    // Few times and entities, so that ties and late arrivals are common.
    #[test]
    fn a_look_up_finds_what_the_oracle_finds(
        puts in prop::collection::vec((0_u8..3, 0_i64..20, 0_i64..6), 0..60),
        freshness in prop::option::of(0_u64..20),
    ) {
        let events: Vec<Put> = puts.into_iter().map(|(entity, time, late)| (entity, time, time + late)).collect();
        let mut options = OnlineOptions::new();
        if let Some(age) = freshness {
            options = options.with_freshness(Duration::from_micros(age));
        }
        let store = MemoryOnlineStore::new(["x"], options).unwrap();
        for (position, &(entity, time, arrived)) in events.iter().enumerate() {
            let values = [position as f64];
            store.put(Event { entity: &entity.to_string(), at: at(time), arrived: at(arrived), values: &values }).unwrap();
        }
        for entity in 0..3 {
            for moment in -1..28 {
                for knowledge in [Knowledge::AtTheTime, Knowledge::Now] {
                    let mut out = [0.0];
                    let found = store.look_up(&entity.to_string(), at(moment), knowledge, &mut out).unwrap();
                    let (expected, value) = oracle(&events, entity, moment, knowledge, freshness);
                    prop_assert_eq!(found, expected);
                    prop_assert!(out[0] == value || (out[0].is_nan() && value.is_nan()));
                }
            }
        }
    }

    #[test]
    fn a_bounded_history_answers_as_an_unbounded_one_or_says_that_it_forgot(
        puts in prop::collection::vec((0_i64..20, 0_i64..6), 0..40),
        limit in 1_usize..8,
    ) {
        let open = |limit| MemoryOnlineStore::new(["x"], OnlineOptions::new().with_max_events(limit)).unwrap();
        let (bounded, all) = (open(limit), open(1000));
        for (position, &(time, late)) in puts.iter().enumerate() {
            let values = [position as f64];
            let event = Event { entity: "e", at: at(time), arrived: at(time + late), values: &values };
            bounded.put(event).unwrap();
            all.put(event).unwrap();
        }
        for moment in -1..28 {
            for knowledge in [Knowledge::AtTheTime, Knowledge::Now] {
                let (mut some, mut every) = ([0.0], [0.0]);
                let found = bounded.look_up("e", at(moment), knowledge, &mut some).unwrap();
                let expected = all.look_up("e", at(moment), knowledge, &mut every).unwrap();
                if found != Found::Forgotten {
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(some[0].to_bits(), every[0].to_bits());
                }
                prop_assert!(found != Found::Forgotten || puts.len() > limit);
            }
        }
    }
}
