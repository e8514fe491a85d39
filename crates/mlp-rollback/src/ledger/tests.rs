//! The ledger as a state machine: after any sequence of actions its invariants hold.

use mlp_core::VersionNumber;
use proptest::prelude::*;

use super::Ledger;
use crate::bundle::VersionBundle;
use crate::flags::Flag;
use crate::plan::CanaryPlan;
use crate::record::Action;
use crate::share::Share;
use crate::state::VersionState;

fn any_action() -> impl Strategy<Value = Action> {
    let version = || (1..7_u64).prop_map(VersionNumber);
    let share = || (0..=100_u32).prop_map(|share| Share::percent(f64::from(share)).unwrap());
    let plan = (1..=100_u32, 1..=100_u32).prop_map(|(step, bound)| {
        let percent = |share| Share::percent(f64::from(share)).unwrap();
        CanaryPlan::stepping(percent(step), percent(bound)).unwrap()
    });
    prop_oneof![
        version().prop_map(|version| Action::Register {
            version,
            bundle: Box::new(VersionBundle::new("model"))
        }),
        version().prop_map(|version| Action::Warm { version }),
        version().prop_map(|version| Action::GiveUp { version, error: "error".to_owned() }),
        version().prop_map(|version| Action::Deploy { version }),
        (version(), plan).prop_map(|(version, plan)| Action::StartCanary { version, plan }),
        (version(), 0..101_usize).prop_map(|(version, step)| Action::StepCanary { version, step }),
        version().prop_map(|version| Action::PauseCanary { version }),
        (version(), share()).prop_map(|(version, share)| Action::StartShadow { version, share }),
        (version(), share())
            .prop_map(|(version, share)| Action::StartChallenger { version, share }),
        version().prop_map(|version| Action::Promote { version }),
        version().prop_map(|version| Action::Abort { version }),
        (version(), 0..=100_u32).prop_map(|(version, percent)| {
            let flag = Box::new(Flag::new("group", percent).unwrap());
            Action::StartFlag { version, flag }
        }),
        (version(), 0..=100_u32).prop_map(|(version, percent)| {
            let flag = Box::new(Flag::new("group", percent).unwrap());
            Action::SetFlag { version, flag }
        }),
        (version(), version()).prop_map(|(from, to)| Action::RollBack { from, to }),
        (version(), version(), share()).prop_map(|(from, to, keeps)| Action::Retreat {
            from,
            to,
            keeps
        }),
        (version(), version(), any::<bool>())
            .prop_map(|(from, to, failed)| Action::CancelRetreat { from, to, failed }),
        (version(), share()).prop_map(|(version, share)| Action::Demote { version, share }),
        (version(), proptest::option::of(version()))
            .prop_map(|(version, to)| Action::Block { version, to }),
        version().prop_map(|version| Action::Unblock { version }),
        (version()).prop_map(|version| Action::Pin { unit: "alice".to_owned(), version }),
        version().prop_map(|version| Action::Archive { version }),
        Just(Action::Freeze),
        Just(Action::Unfreeze),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_actions_keeps_the_invariants(
        actions in proptest::collection::vec(any_action(), 0..120),
        keep in 1..4_usize,
    ) {
        let mut ledger = Ledger::new(keep);
        let mut generation = 0;
        let mut was_active = false;
        for action in (1..7).map(|version| Action::Register {
            version: VersionNumber(version),
            bundle: Box::new(VersionBundle::new("model")),
        }).chain(actions) {
            if ledger.check(&action).is_err() {
                continue;
            }
            generation += 1;
            let before = ledger.active;
            ledger.apply(generation, &action, "reason");
            prop_assert_eq!(ledger.fault(), None, "after {:?}", action);
            prop_assert!(!was_active || ledger.active.is_some(), "no active version after {:?}", action);
            was_active = ledger.active.is_some();
            if let (Some(now), true) = (ledger.active, ledger.active != before) {
                let entry = ledger.entry(now).unwrap();
                prop_assert!(entry.blocked.is_none(), "{:?} made a blocked version active", action);
            }
            let blocked_elsewhere = ledger.versions.iter().any(|(version, entry)| {
                entry.blocked.is_some()
                    && entry.state != VersionState::Blocked
                    && ledger.active != Some(*version)
            });
            prop_assert!(!blocked_elsewhere, "a blocked version has a role after {:?}", action);
        }
    }
}

#[test]
fn the_check_of_the_invariants_can_fail() {
    let mut ledger = Ledger::new(2);
    let version = VersionNumber(1);
    let bundle = Box::new(VersionBundle::new("model"));
    ledger.apply(1, &Action::Register { version, bundle }, "");
    assert_eq!(ledger.fault(), None);
    ledger.active = Some(version);
    assert!(ledger.fault().is_some());
}
