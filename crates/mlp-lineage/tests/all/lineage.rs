use std::path::Path;
use std::process::Command;

use mlp_core::{ContentHash, DatasetRef, ModelName, ParamValue, RecordId, Timestamp};
use mlp_lineage::{
    ChainEntry, ChainFault, Code, Deployment, Event, FaultKind, InMemoryLineageStore, LineageGraph,
    LineageStoreExt, Node, Record, Section, Tree, capture_code, diff, model_card, verify_chain,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn dataset(byte: u8) -> DatasetRef {
    let fingerprint = ContentHash::from_bytes([byte; 32]);
    DatasetRef { name: "wine".into(), version: byte.to_string(), fingerprint }
}

fn record(second: i64) -> Record {
    Record::new(ModelName::new("wine").unwrap(), at(second))
}

fn chain(length: i64) -> Vec<ChainEntry> {
    let store = InMemoryLineageStore::new();
    for second in 0..length {
        store.record(record(second).with_seed("split", 7).with_author("ann")).unwrap();
    }
    store.all_entries().unwrap()
}

fn first_fault(entries: &[ChainEntry]) -> Option<(u64, FaultKind)> {
    let fault: Option<ChainFault> = verify_chain(entries, None).unwrap();
    fault.map(|fault| (fault.sequence, fault.kind))
}

#[test]
fn an_edit_of_any_field_of_any_entry_is_named() {
    let entries = chain(5);
    assert_eq!(first_fault(&entries), None);
    let edits: [fn(&mut Record); 15] = [
        |r| r.id = RecordId::generate(),
        |r| r.model = ModelName::new("beer").unwrap(),
        |r| r.created_at = at(99),
        |r| r.author = None,
        |r| r.description = Some(String::new()),
        |r| drop(r.datasets.insert("test".into(), dataset(1).into())),
        |r| {
            let (name, version) = ("f".into(), "1".into());
            r.features = Some(mlp_lineage::FeatureSource { name, version, transforms: vec![] });
        },
        |r| r.code = Code::Unknown { reason: "other".into() },
        |r| drop(r.configuration.insert("trees", 1)),
        |r| r.environment = Some(mlp_lineage::Environment::default()),
        |r| r.seeds = [("split".to_owned(), 8)].into(),
        |r| {
            let (hash, size) = (ContentHash::from_bytes([0; 32]), 0);
            r.artifacts.insert("model".into(), mlp_lineage::Artifact { hash, size });
        },
        |r| {
            let (started_at, ended_at) = (at(0), at(1));
            let metrics = mlp_core::Metrics::new();
            r.training = Some(mlp_lineage::Training { started_at, ended_at, metrics });
        },
        |r| r.parents.push(r.id),
        |r| r.corrects = Some(r.id),
    ];
    for position in 0..entries.len() {
        for (number, edit) in edits.iter().enumerate() {
            let mut edited = entries.clone();
            let Event::Recorded(record) = &mut edited[position].event else { unreachable!() };
            edit(record);
            let expected = Some((position as u64, FaultKind::Altered));
            assert_eq!(first_fault(&edited), expected, "edit {number} of entry {position}");
        }
    }
}

#[test]
fn entries_deleted_inserted_reordered_repeated_or_cut_off_are_named() {
    let entries = chain(5);
    let head = entries.last().map(ChainEntry::head);
    for position in 0..4 {
        let place = position as u64;
        let mut deleted = entries.clone();
        deleted.remove(position);
        assert_eq!(first_fault(&deleted), Some((place, FaultKind::Missing)));

        let mut swapped = entries.clone();
        swapped.swap(position, position + 1);
        assert_eq!(first_fault(&swapped), Some((place, FaultKind::Missing)));

        let mut repeated = entries.clone();
        repeated.insert(position + 1, entries[position].clone());
        assert_eq!(first_fault(&repeated), Some((place + 1, FaultKind::Extra)));

        // One entry written anew, with its hash: the next no longer follows it.
        let mut rewritten = entries.clone();
        let before = position.checked_sub(1).map(|i| entries[i].head());
        let event = Event::Recorded(Box::new(record(99)));
        rewritten[position] = ChainEntry::follow(before, event).unwrap();
        assert_eq!(first_fault(&rewritten), Some((place + 1, FaultKind::Unlinked)));

        let cut = &entries[..position + 1];
        assert_eq!(first_fault(cut), None, "without an anchor a cut cannot be seen");
        let fault = verify_chain(cut, head).unwrap().unwrap();
        assert_eq!((fault.sequence, fault.kind), (place + 1, FaultKind::Truncated));
    }
    let anew = chain(5);
    assert_eq!(first_fault(&anew), None, "without an anchor a forged chain cannot be seen");
    let fault = verify_chain(&anew, head).unwrap().unwrap();
    assert_eq!((fault.sequence, fault.kind), (4, FaultKind::Rewritten));
}

#[test]
fn a_diff_names_the_section_and_field_of_every_change() {
    let before = record(0)
        .with_parameter("trees", 100)
        .with_parameter("depth", 8)
        .with_dataset("training", dataset(1))
        .with_seed("split", 1);
    let mut after = before
        .clone()
        .with_parameter("trees", 200)
        .with_dataset("training", dataset(2))
        .with_author("ann");
    after.id = RecordId::generate();
    after.seeds.clear();
    let changes = diff(&before, &after);
    let named: Vec<_> = changes.iter().map(|c| (c.section, c.path.as_str())).collect();
    assert_eq!(
        named,
        [
            (Section::Description, "author"),
            (Section::Configuration, "configuration.trees"),
            (Section::Data, "datasets.training.dataset.fingerprint"),
            (Section::Data, "datasets.training.dataset.version"),
            (Section::Seeds, "seeds.split"),
        ]
    );
    assert_eq!(changes[1].to_string(), "configuration: configuration.trees was 100, is 200");
    assert_eq!(changes[4].to_string(), "seeds: seeds.split was 1, is absent");
    assert_eq!(diff(&before, &before), []);
}

#[test]
fn a_diff_tells_empty_from_absent_and_names_apart() {
    let empty = ParamValue::List(Vec::new());
    let before = record(0)
        .with_parameter("a", ParamValue::List(vec![1.into()]))
        .with_parameter("lr", f64::NAN);
    let mut after = before
        .clone()
        .with_parameter("layers", empty)
        .with_parameter("a[0]", 2)
        .with_parameter("lr.float", 3);
    after.configuration.insert("a", ParamValue::List(vec![2.into()]));
    let told: Vec<String> = diff(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for expected in [
        "configuration: configuration.\"a[0]\" was absent, is 2",
        "configuration: configuration.\"lr.float\" was absent, is 3",
        "configuration: configuration.a was [1], is [2]",
        "configuration: configuration.layers was absent, is []",
    ] {
        assert!(told.iter().any(|told| told == expected), "{expected} in {told:?}");
    }
}

#[test]
fn as_of_a_moment_what_was_used_is_there_whatever_its_author_s_clock_said() {
    let store = InMemoryLineageStore::new();
    let parent = record(10).with_dataset("training", dataset(1));
    let child = record(5).with_parent(parent.id);
    let later = record(10).with_dataset("training", dataset(2));
    for record in [&parent, &child, &later] {
        store.record(record.clone()).unwrap();
    }
    let graph = LineageGraph::as_of(&store.all_entries().unwrap(), at(5));
    let source = Node::Dataset(dataset(1).fingerprint);
    assert_eq!(graph.ancestors(&Node::Record(child.id)), [Node::Record(parent.id), source]);
    assert_eq!(graph.nodes().count(), 3, "and what was not used is not");
}

#[test]
fn a_record_survives_json_and_equal_records_give_equal_bytes() {
    let written = record(0).with_parameter("nan", f64::NEG_INFINITY).with_dataset("t", dataset(3));
    let text = written.to_json().unwrap();
    let read = Record::from_json(&text).unwrap();
    assert_eq!((read.to_json().unwrap(), read), (text.clone(), written));
    assert!(Record::from_json(&text.replace("\"author\"", "\"writer\"")).is_err());
    assert!(Record::from_json(&text[..text.len() / 2]).is_err());
}

#[test]
fn the_impact_of_a_dataset_reaches_deployments_and_only_as_far_as_was_known() {
    let store = InMemoryLineageStore::new();
    let base = record(1).with_dataset("training", dataset(1));
    let other = record(1).with_dataset("training", dataset(2));
    let built = record(2).with_parent(base.id);
    for record in [&base, &other, &built] {
        store.record(record.clone()).unwrap();
    }
    let deployment =
        Deployment { record: built.id, target: "eu \"1\"".into(), at: at(3), by: None };
    store.deployed(deployment).unwrap();

    let graph = store.graph().unwrap();
    let source = Node::Dataset(dataset(1).fingerprint);
    let place = Node::Deployment(built.id, "eu \"1\"".into());
    let impact: Vec<_> = graph.descendants(&source).into_iter().collect();
    assert_eq!(impact.len(), 3);
    assert!(impact.contains(&place) && !impact.contains(&Node::Record(other.id)));
    assert_eq!(graph.ancestors(&place).len(), 3);
    let path = graph.path(&source, &place).unwrap();
    assert_eq!(
        path,
        [source.clone(), Node::Record(base.id), Node::Record(built.id), place.clone()]
    );
    assert_eq!(graph.path(&place, &source), None);
    assert_eq!(graph.path(&source, &source), Some(vec![source.clone()]));

    let then = LineageGraph::as_of(&store.all_entries().unwrap(), at(1));
    assert_eq!(then.descendants(&source), [Node::Record(base.id)]);

    assert!(graph.to_mermaid().contains("([\"eu #quot;1#quot;\"])"), "{}", graph.to_mermaid());
    assert!(graph.to_dot().contains("label=\"eu \\\"1\\\"\""), "{}", graph.to_dot());
    assert_eq!(graph.to_dot().matches(" -> ").count(), 4);
}

#[test]
fn a_deep_lineage_is_walked_without_recursion() {
    let store = InMemoryLineageStore::new();
    let first = record(0);
    let mut last = first.id;
    store.record(first.clone()).unwrap();
    for second in 1..=10_000 {
        let next = record(second).with_parent(last);
        last = next.id;
        store.record(next).unwrap();
    }
    let graph = store.graph().unwrap();
    assert_eq!(graph.ancestors(&Node::Record(last)).len(), 10_000);
    assert_eq!(graph.path(&Node::Record(first.id), &Node::Record(last)).unwrap().len(), 10_001);
}

#[test]
fn a_hundred_thousand_nodes_are_walked_and_as_of_a_record_is_what_was_known_then() {
    let mut graph = LineageGraph::default();
    let mut ids: Vec<mlp_core::RecordId> = Vec::new();
    for k in 0..100_000_usize {
        let mut next = record(1);
        if k >= 10 {
            next = next.with_parent(ids[k - 10]).with_parent(ids[k - 1 - k % 9]);
        }
        ids.push(next.id);
        graph.add(&Event::Recorded(Box::new(next)));
    }
    // A chain of ten thousand layers and more.
    assert!(graph.ancestors(&Node::Record(ids[99_999])).len() > 99_000);
    assert!(graph.descendants(&Node::Record(ids[0])).len() > 50_000);

    let store = InMemoryLineageStore::new();
    let (first, second) = (record(5).with_dataset("train", dataset(1)), record(5));
    let third = record(5).with_parent(first.id);
    for record in [&first, &second, &third] {
        store.record(record.clone()).unwrap();
    }
    let entries = store.all_entries().unwrap();
    let then = |id| LineageGraph::as_of_record(&entries, id).unwrap();
    let source = Node::Dataset(dataset(1).fingerprint);
    assert_eq!(then(first.id).nodes().count(), 2);
    assert_eq!(then(second.id).descendants(&source), [Node::Record(first.id)]);
    assert_eq!(then(third.id).descendants(&source).len(), 2);
    assert!(LineageGraph::as_of_record(&entries, mlp_core::RecordId::generate()).is_none());
}

#[test]
fn a_model_card_says_what_is_known_and_what_is_not() {
    let card =
        model_card(&record(0).with_dataset("training", dataset(1)).with_description("Good wine."));
    for expected in [
        "# wine",
        "Good wine.",
        "* training: wine@1",
        "* author: not recorded",
        "* unknown: not captured",
    ] {
        assert!(card.contains(expected), "{expected:?} is not in\n{card}");
    }
    for section in ["Known limits", "Environment", "Training and scores", "Artifacts"] {
        assert!(card.contains(&format!("## {section}\n\nnot recorded\n")), "{section} in\n{card}");
    }
    let parent = record(0);
    let full = record(1)
        .with_parent(parent.id)
        .correcting(parent.id)
        .with_limit("Not for white wine.")
        .with_parameter("trees", 100)
        .with_seed("split", 7);
    let card = model_card(&full);
    for expected in [
        "## Known limits\n\n* Not for white wine.",
        "* trees: 100",
        "* seed of split: 7",
        "* builds on record: ",
        "* corrects record: ",
    ] {
        assert!(card.contains(expected), "{expected:?} is not in\n{card}");
    }
}

#[test]
fn nothing_that_a_record_says_can_forge_a_part_of_its_card() {
    let forged = record(0)
        .with_author("ann\n\n## Scores\n\n* accuracy: 1.0")
        .with_description("[click](https://evil) <script>")
        .with_parameter("a\n# b", "c\n# d");
    let card = model_card(&forged);
    let headings = card.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(
        headings,
        model_card(&record(0)).lines().filter(|line| line.starts_with('#')).count()
    );
    assert!(!card.contains("[click](") && !card.contains("<script>"), "{card}");
}

#[test]
fn nothing_that_a_record_says_begins_a_list_or_links_to_anything() {
    for (said, shown) in [
        ("- accuracy: 1.0", "\\- accuracy: 1.0"),
        ("   + accuracy: 1.0", "\\+ accuracy: 1.0"),
        ("1. first", "1\\. first"),
        ("23) first", "23\\) first"),
        ("---", "\\---"),
        ("===", "\\==="),
        ("see https://evil.org/a", "see https\\://evil.org/a"),
        ("see WWW.evil.org", "see WWW\\.evil.org"),
        ("ask ann@evil.org", "ask ann@evil.org"),
        ("&lt;b&gt;", "\\&lt;b\\&gt;"),
        ("1.5 at 12:30 - or so", "1\\.5 at 12:30 - or so"),
    ] {
        let card = model_card(&record(0).with_description(said).with_limit(said));
        let lines: Vec<&str> = card.lines().collect();
        assert!(lines.contains(&shown), "{said:?} in\n{card}");
        assert!(lines.contains(&format!("* {shown}").as_str()), "{said:?} in\n{card}");
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn state(folder: &Path) -> mlp_lineage::GitState {
    match capture_code(folder) {
        Code::Git(state) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn code_is_captured_with_what_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    git(folder, &["init", "-q", "-b", "main"]);
    assert_eq!(state(folder).commit, None);
    std::fs::write(folder.join("a.rs"), "one\n").unwrap();
    git(folder, &["add", "a.rs"]);
    assert!(state(folder).diff.unwrap().contains("+one"), "staged before the first commit");
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["remote", "add", "origin", "https://me:token@example.org/a.git"]);
    let clean = state(folder);
    assert_eq!((clean.tree, clean.branch.as_deref()), (Tree::Clean, Some("main")));
    assert_eq!(clean.commit.unwrap().len(), 40);
    assert_eq!((clean.diff, clean.remote.as_deref()), (None, Some("https://example.org/a.git")));

    std::fs::write(folder.join("new file.rs"), "x").unwrap();
    let untracked = state(folder);
    assert_eq!(
        (untracked.tree, untracked.untracked),
        (Tree::Dirty, vec!["new file.rs".to_owned()])
    );
    std::fs::write(folder.join("a.rs"), "two\n").unwrap();
    let one = state(folder);
    assert!(one.diff.unwrap().contains("-one\n+two"));
    std::fs::write(folder.join("a.rs"), "three\n").unwrap();
    assert_ne!(state(folder).diff_hash, one.diff_hash);
}

#[test]
fn what_is_not_committed_is_seen_wherever_it_is_and_however_diffs_are_liked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    git(folder, &["init", "-q", "-b", "main"]);
    std::fs::write(folder.join("a.rs"), "one\n").unwrap();
    git(folder, &["add", "a.rs"]);
    std::fs::write(folder.join("a.rs"), "two\n").unwrap();
    let early = state(folder);
    assert!(
        early.diff.unwrap().contains("+two"),
        "what ran, not what was staged, before the first commit"
    );
    git(folder, &["commit", "-q", "-a", "-m", "first"]);

    // The content of untracked files counts, from a folder below as well.
    std::fs::create_dir(folder.join("src")).unwrap();
    std::fs::write(folder.join("src/new.rs"), "x").unwrap();
    let one = state(folder);
    assert_eq!(state(&folder.join("src")).untracked_hash, one.untracked_hash);
    assert_eq!((one.untracked_unread, one.untracked_count), (0, 1));
    std::fs::write(folder.join("src/new.rs"), "y").unwrap();
    assert_ne!(state(folder).untracked_hash, one.untracked_hash);
    // A repository within is not read, and that is said.
    std::fs::create_dir(folder.join("nested")).unwrap();
    git(&folder.join("nested"), &["init", "-q"]);
    std::fs::write(folder.join("nested/b.rs"), "x").unwrap();
    assert_eq!(state(folder).untracked_unread, 1);

    std::fs::write(folder.join("a.rs"), "three\n").unwrap();
    let plain = state(folder);
    assert_eq!(plain.diff_size, plain.diff.as_ref().unwrap().len() as u64);
    for setting in ["diff.noprefix", "diff.mnemonicPrefix", "diff.relative"] {
        git(folder, &["config", setting, "true"]);
    }
    std::fs::write(folder.join("order"), "*\n").unwrap();
    for (setting, value) in [
        ("diff.context", "0"),
        ("core.abbrev", "5"),
        ("diff.srcPrefix", "old/"),
        ("diff.dstPrefix", "new/"),
        ("diff.orderFile", "order"),
        ("diff.suppressBlankEmpty", "true"),
        ("diff.ignoreSubmodules", "all"),
    ] {
        git(folder, &["config", setting, value]);
    }
    assert_eq!(state(&folder.join("src")).diff_hash, plain.diff_hash);
}

/// A repository with another one in `sub`, both with one file.
fn with_submodule(folder: &Path) -> std::path::PathBuf {
    let (inner, outer) = (folder.join("inner"), folder.join("outer"));
    for repository in [&inner, &outer] {
        std::fs::create_dir(repository).unwrap();
        git(repository, &["init", "-q", "-b", "main"]);
        std::fs::write(repository.join("a.rs"), "one\n").unwrap();
        git(repository, &["add", "a.rs"]);
        git(repository, &["commit", "-q", "-m", "first"]);
    }
    let address = inner.display().to_string();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &address, "sub"];
    git(&outer, &add);
    git(&outer, &["commit", "-q", "-m", "with a submodule"]);
    outer
}

#[test]
fn what_is_not_committed_in_a_submodule_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let outer = with_submodule(folder.path());
    git(&outer, &["config", "diff.ignoreSubmodules", "all"]);
    assert_eq!(state(&outer).tree, Tree::Clean);
    let change = |content: &str| {
        std::fs::write(outer.join("sub/a.rs"), content).unwrap();
        state(&outer)
    };
    let (two, three) = (change("two\n"), change("three\n"));
    assert!(two.diff.unwrap().contains("-one\n+two"));
    assert_ne!(two.diff_hash, three.diff_hash, "different content is not the same code");
    assert_eq!(three.untracked_unread, 0);
    std::fs::write(outer.join("sub/new.rs"), "x").unwrap();
    assert_eq!(state(&outer).untracked_unread, 1, "said, since it is not read");
}

#[test]
fn a_change_that_git_was_told_not_to_look_at_is_seen() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path();
    git(folder, &["init", "-q", "-b", "main"]);
    std::fs::create_dir(folder.join("src")).unwrap();
    for name in ["a.rs", "src/b c.rs", "left out.rs"] {
        std::fs::write(folder.join(name), "one\n").unwrap();
    }
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["update-index", "--assume-unchanged", "a.rs"]);
    git(folder, &["update-index", "--skip-worktree", "src/b c.rs", "left out.rs"]);
    // One that is left out of the working tree, as by a sparse checkout, is no change.
    std::fs::remove_file(folder.join("left out.rs")).unwrap();
    assert_eq!(state(folder).tree, Tree::Clean);
    for (name, of) in [("a.rs", "."), ("src/b c.rs", "src")] {
        std::fs::write(folder.join(name), "two\n").unwrap();
        let seen = state(&folder.join(of));
        assert_eq!(seen.tree, Tree::Dirty, "{name}");
        assert!(seen.diff.unwrap().contains("-one\n+two"), "{name}");
        std::fs::write(folder.join(name), "three\n").unwrap();
        assert_ne!(state(folder).diff_hash, seen.diff_hash, "{name}");
        std::fs::write(folder.join(name), "one\n").unwrap();
        assert_eq!(state(folder).tree, Tree::Clean);
    }
    std::fs::remove_file(folder.join("a.rs")).unwrap();
    assert_eq!(state(folder).tree, Tree::Dirty, "it was removed");
    let listed = Command::new("git").arg("-C").arg(folder).args(["ls-files", "-v"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert_eq!(listed, "h a.rs\nS left out.rs\nS src/b c.rs\n", "what git was told stays");
}

#[test]
fn a_change_as_young_as_the_index_is_seen_where_another_file_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let touch = |name: &str| {
        let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(then).unwrap();
    };
    let write = |content: &str| {
        std::fs::write(folder.join("a.rs"), content).unwrap();
        touch("a.rs");
    };
    git(folder, &["init", "-q", "-b", "main"]);
    git(folder, &["config", "core.trustctime", "false"]);
    std::fs::write(folder.join("hidden.rs"), "one\n").unwrap();
    write("one\n");
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["update-index", "--assume-unchanged", "hidden.rs"]);
    assert_eq!(state(folder).tree, Tree::Clean);
    // Of the same size, and in the same moment.
    write("two\n");
    touch(".git/index");
    let seen = state(folder);
    assert_eq!(seen.tree, Tree::Dirty);
    assert!(seen.diff.unwrap().contains("-one\n+two"));
}

/// Other systems refuse such names.
#[cfg(target_os = "linux")]
#[test]
fn a_repository_whose_path_is_no_utf_8_is_captured() {
    use std::os::unix::ffi::OsStrExt;
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    git(&folder, &["init", "-q", "-b", "main"]);
    std::fs::write(folder.join("new.rs"), "one\n").unwrap();
    let seen = state(&folder);
    assert_eq!((seen.untracked_count, seen.untracked_unread), (1, 0));
}

#[test]
fn a_file_of_a_submodule_that_git_was_told_not_to_look_at_is_said_to_be_unread() {
    let folder = tempfile::tempdir().unwrap();
    let outer = with_submodule(folder.path());
    assert_eq!((state(&outer).tree, state(&outer).untracked_unread), (Tree::Clean, 0));
    git(&outer.join("sub"), &["update-index", "--assume-unchanged", "a.rs"]);
    std::fs::write(outer.join("sub/a.rs"), "two\n").unwrap();
    assert_eq!((state(&outer).tree, state(&outer).untracked_unread), (Tree::Dirty, 1));
}

#[test]
fn a_missing_repository_is_recorded_as_such() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("absent")] {
        match capture_code(path) {
            Code::Unknown { reason } => assert!(reason.starts_with("git "), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
