//! The gate as continuous integration runs it: its exit code decides.

use std::process::{Command, Output};

/// Runs the example that was built beside this test.
fn gate(argument: &str) -> Output {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    let program = path.join("examples").join(format!("gate{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --example gate` first",
        program.display()
    );
    Command::new(program).arg(argument).output().expect("the example runs")
}

#[test]
fn the_gate_exits_with_0_for_a_good_candidate_1_for_a_bad_one_and_2_for_bad_input() {
    for (argument, code) in [
        ("0.79", 0),
        // Above the absolute bound, but more than 5 % below the best release.
        ("0.75", 1),
        ("0.70", 1),
        ("NaN", 1),
        ("-inf", 1),
        ("high", 2),
        ("", 2),
    ] {
        let output = gate(argument);
        let (text, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{argument:?}: {text}{error}");
        assert_eq!(error.lines().count(), usize::from(code == 2), "{argument:?}: {error}");
        let failures = text.matches("<failure").count();
        assert_eq!(failures > 0, code == 1, "{argument:?}: {text}");
    }
}
