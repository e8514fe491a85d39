#![cfg(unix)]

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{ContentHash, ManualClock, ModelName, StoreError, Timestamp};
use mlp_lineage::{
    Artifact, ArtifactInfo, ArtifactStore, ArtifactStoreExt, FileArtifactStore, GarbageMode,
    InMemoryArtifactStore, InMemoryLineageStore, LineageStoreExt, Record, collect_garbage,
    verify_artifacts,
};

fn open() -> (tempfile::TempDir, FileArtifactStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = FileArtifactStore::open(folder.path()).unwrap();
    (folder, store)
}

fn file_of(folder: &Path, artifact: Artifact) -> PathBuf {
    let name = artifact.hash.to_string();
    folder.join("objects").join(&name[..2]).join(name)
}

/// Replaces the content of a file that is read-only.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn record() -> Record {
    Record::new(ModelName::new("wine").unwrap(), Timestamp::UNIX_EPOCH)
}

#[test]
fn every_flipped_byte_is_seen_on_read() {
    let (folder, store) = open();
    let bytes: Vec<u8> = (0..200).collect();
    let artifact = store.put_bytes(&bytes).unwrap();
    let path = file_of(folder.path(), artifact);
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 1 << (position % 8);
        store.put_bytes(&bytes).unwrap();
        overwrite(&path, &changed);
        let read = store.read(artifact.hash);
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "byte {position}");
    }
    store.put_bytes(&bytes).unwrap();
    assert_eq!(store.read(artifact.hash).unwrap(), bytes, "putting it again heals it");
}

#[test]
fn verification_names_what_is_altered_missing_and_extra() {
    let (folder, store) = open();
    let [good, altered, missing, extra] =
        [b"good", b"alte", b"miss", b"extr"].map(|bytes| store.put_bytes(bytes).unwrap());
    let record = record()
        .with_artifact("good", good)
        .with_artifact("altered", altered)
        .with_artifact("missing", missing);
    assert!(verify_artifacts(std::slice::from_ref(&record), &store).unwrap().is_intact());
    overwrite(&file_of(folder.path(), altered), b"ALTE");
    store.remove(missing.hash).unwrap();
    let report = verify_artifacts(&[record], &store).unwrap();
    assert!(!report.is_intact());
    assert_eq!((report.intact, report.altered), (1, vec![altered.hash]));
    assert_eq!((report.missing, report.extra), (vec![missing.hash], vec![extra.hash]));
}

/// Names that have escaped from artifact folders elsewhere. Here a name is a hash, and none of these can be one.
#[test]
fn no_name_can_leave_the_folder() {
    let digits = "a".repeat(64);
    for payload in [
        "..",
        "../../../etc/passwd",
        "/etc/passwd",
        "//proc/self/root/etc/passwd",
        "file://./etc/passwd",
        "file:///etc/passwd",
        "#/../../etc/passwd",
        "?/../etc/passwd",
        "%2e%2e%2fetc%2fpasswd",
        "..%252f..%252fetc",
        "..\\..\\windows\\win.ini",
        "C:\\windows\\win.ini",
        "a\0b",
        &format!("../{}", &digits[3..]),
        &format!("{}\0", &digits[1..]),
        &format!("{}/", &digits[1..]),
        &digits.to_uppercase(),
    ] {
        assert!(payload.parse::<ContentHash>().is_err(), "{payload:?} became a hash");
    }
    assert!(digits.parse::<ContentHash>().is_ok(), "the control: a hash is one");
}

#[test]
fn a_planted_link_is_neither_read_nor_written_through() {
    let (folder, store) = open();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, b"weights").unwrap();

    // In place of the file: even with the right content behind it.
    let artifact = store.put_bytes(b"weights").unwrap();
    let path = file_of(folder.path(), artifact);
    fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    assert!(matches!(store.read(artifact.hash), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.list().unwrap(), []);
    store.put_bytes(b"weights").unwrap();
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink(), "the link is replaced");
    assert_eq!(fs::read(&secret).unwrap(), b"weights");

    // In place of the folder of the first two digits.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    symlink(outside.path(), path.parent().unwrap()).unwrap();
    assert!(matches!(store.read(artifact.hash), Err(StoreError::Corrupt { .. })));
    store.put_bytes(b"weights").unwrap_err();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was written outside");

    // In place of the folder of all objects.
    fs::remove_dir_all(folder.path().join("objects")).unwrap();
    symlink(outside.path(), folder.path().join("objects")).unwrap();
    assert!(FileArtifactStore::open(folder.path()).is_err());
}

#[test]
fn links_in_place_of_the_stores_own_folders_and_lock_are_refused() {
    for name in ["objects", "temporary", "quarantine"] {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join(name)).unwrap();
        assert!(FileArtifactStore::open(folder.path()).is_err(), "{name}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
    let (folder, store) = open();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("made");
    fs::remove_file(folder.path().join("lock")).ok();
    symlink(&target, folder.path().join("lock")).unwrap();
    store.put_bytes(b"weights").unwrap_err();
    assert!(!target.exists(), "nothing is made through a link");
}

/// Does something in the middle of a copy.
struct Meanwhile<F: FnMut()>(F);

impl<F: FnMut()> std::io::Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut()> std::io::Read for Meanwhile<F> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        (self.0)();
        Ok(0)
    }
}

#[test]
fn a_file_put_anew_while_its_altered_predecessor_is_read_stays() {
    let (folder, store) = open();
    let artifact = store.put_bytes(b"weights").unwrap();
    overwrite(&file_of(folder.path(), artifact), b"changed");
    let mut out = Meanwhile(|| {
        store.put_bytes(b"weights").unwrap();
    });
    let read = store.copy_to(artifact.hash, &mut out);
    assert!(matches!(read, Err(StoreError::Corrupt { .. })), "what was read was altered");
    assert_eq!(store.read(artifact.hash).unwrap(), b"weights", "what was put is there");
}

#[test]
fn an_artifact_is_as_old_as_its_put_however_long_its_bytes_took() {
    let (folder, store) = open();
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(25 * 3_600);
    let stall = Meanwhile(|| {
        for entry in fs::read_dir(folder.path().join("temporary")).unwrap() {
            let path = entry.unwrap().path();
            fs::File::open(path).unwrap().set_modified(yesterday).unwrap();
        }
    });
    let artifact = store.put(&mut std::io::Read::chain(&b"weights"[..], stall)).unwrap();
    let day_old = Timestamp::from(std::time::SystemTime::now()).before(Duration::from_secs(86_400));
    assert!(!store.remove_stored_before(artifact.hash, day_old).unwrap(), "garbage took it");
    assert_eq!(store.read(artifact.hash).unwrap(), b"weights");
}

#[test]
fn files_are_for_their_owner_alone_and_nothing_temporary_stays() {
    let (folder, store) = open();
    let artifact = store.put_bytes(b"weights").unwrap();
    let path = file_of(folder.path(), artifact);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o400, 0o700));
    let temporary = folder.path().join("temporary");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);

    fs::write(temporary.join("left-behind"), b"half").unwrap();
    assert_eq!(store.list().unwrap().len(), 1, "half a write is no artifact");
    assert_eq!(store.sweep(Timestamp::UNIX_EPOCH).unwrap(), 0, "it may still be written");
    assert_eq!(store.sweep(Timestamp::from_micros(i64::MAX)).unwrap(), 1);
    assert_eq!(store.read(artifact.hash).unwrap(), b"weights");
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let (folder, store) = open();
    let artifact = store.put_bytes(b"weights").unwrap();
    drop(store);
    let store = FileArtifactStore::open(folder.path()).unwrap();
    assert_eq!(store.read(artifact.hash).unwrap(), b"weights");
}

#[test]
fn garbage_is_what_no_record_uses_and_a_dry_run_removes_nothing() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (lineage, store) =
        (InMemoryLineageStore::new(), InMemoryArtifactStore::with_clock(clock.clone()));
    let used = store.put_bytes(b"used").unwrap();
    let unused = store.put_bytes(b"unused").unwrap();
    clock.advance(Duration::from_secs(60));
    let moment = mlp_core::Clock::now(&*clock);
    let young = store.put_bytes(b"its record comes later").unwrap();
    lineage.record(record().with_artifact("model", used)).unwrap();

    let collect = |mode| -> Vec<_> {
        let garbage = collect_garbage(&lineage, &store, None, moment, mode).unwrap();
        garbage.into_iter().map(|info| info.artifact).collect()
    };
    assert_eq!(collect(GarbageMode::DryRun), [unused]);
    assert_eq!(store.list().unwrap().len(), 3);
    assert_eq!(collect(GarbageMode::Remove), [unused]);
    assert_eq!(collect(GarbageMode::Remove), []);
    assert!(store.read(used.hash).is_ok() && store.read(young.hash).is_ok());
}

#[test]
fn garbage_of_files_is_collected_and_a_put_beside_it_is_never_lost() {
    let (folder, store) = open();
    let lineage = InMemoryLineageStore::new();
    let used = store.put_bytes(b"used").unwrap();
    lineage.record(record().with_artifact("model", used)).unwrap();
    let garbage: Vec<_> = (0..20_u8).map(|k| store.put_bytes(&[k; 100]).unwrap()).collect();
    let far = mlp_core::Clock::now(&mlp_core::SystemClock::new()).after(Duration::from_secs(60));
    let collect =
        |before, mode| collect_garbage(&lineage, &store, None, before, mode).unwrap().len();
    assert_eq!(collect(Timestamp::UNIX_EPOCH, GarbageMode::Remove), 0, "all of it is young");
    assert_eq!(collect(far, GarbageMode::DryRun), garbage.len());
    assert_eq!(store.list().unwrap().len(), 21);
    // Puts go on while garbage of two hours ago is removed; with an hour of grace none of them is taken.
    let now = std::time::SystemTime::now();
    for artifact in &garbage {
        let file = std::fs::File::open(file_of(folder.path(), *artifact)).unwrap();
        file.set_modified(now - Duration::from_secs(7_200)).unwrap();
    }
    let began =
        mlp_core::Clock::now(&mlp_core::SystemClock::new()).before(Duration::from_secs(3_600));
    std::thread::scope(|scope| {
        let puts = scope.spawn(|| {
            (0..200_u8).map(|k| store.put_bytes(&[k, 255, 7]).unwrap()).collect::<Vec<_>>()
        });
        while !puts.is_finished() {
            collect(began, GarbageMode::Remove);
        }
        collect(began, GarbageMode::Remove);
        for artifact in puts.join().unwrap() {
            assert!(store.read(artifact.hash).is_ok(), "a young artifact was collected");
        }
    });
    assert!(garbage.iter().all(|artifact| store.read(artifact.hash).is_err()));
    assert_eq!(store.read(used.hash).unwrap(), b"used");
}

#[test]
fn garbage_is_not_collected_by_the_word_of_a_chain_that_is_not_whole() {
    let (_folder, store) = open();
    let used = store.put_bytes(b"used").unwrap();
    let far = Timestamp::from_micros(i64::MAX);
    let other = InMemoryLineageStore::new();
    let refused = collect_garbage(&other, &store, None, far, GarbageMode::Remove);
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "an empty chain: {refused:?}");
    assert_eq!(collect_garbage(&other, &store, None, far, GarbageMode::DryRun).unwrap().len(), 1);
    // The head that was kept elsewhere says that this is not the chain, or not all of it.
    let lineage = InMemoryLineageStore::new();
    let head = lineage.record(record().with_artifact("model", used)).unwrap();
    other.record(record()).unwrap();
    let refused = collect_garbage(&other, &store, Some(head), far, GarbageMode::Remove);
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    assert_eq!(store.read(used.hash).unwrap(), b"used");
    assert_eq!(
        collect_garbage(&lineage, &store, Some(head), far, GarbageMode::Remove).unwrap(),
        []
    );
}

/// Puts the same content again just before it would be removed.
#[derive(Debug)]
struct PutsAgain(FileArtifactStore);

impl ArtifactStore for PutsAgain {
    fn put(&self, content: &mut dyn std::io::Read) -> Result<Artifact, StoreError> {
        self.0.put(content)
    }

    fn copy_to(&self, hash: ContentHash, out: &mut dyn std::io::Write) -> Result<u64, StoreError> {
        self.0.copy_to(hash, out)
    }

    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError> {
        self.0.list()
    }

    fn remove(&self, hash: ContentHash) -> Result<(), StoreError> {
        self.0.remove(hash)
    }

    fn remove_stored_before(
        &self,
        hash: ContentHash,
        moment: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.put_bytes(b"old, and wanted again")?;
        self.0.remove_stored_before(hash, moment)
    }
}

#[test]
fn what_is_put_again_while_garbage_is_collected_stays() {
    let (folder, store) = open();
    let lineage = InMemoryLineageStore::new();
    lineage.record(record()).unwrap();
    let old = store.put_bytes(b"old, and wanted again").unwrap();
    let now = std::time::SystemTime::now();
    let file = fs::File::open(file_of(folder.path(), old)).unwrap();
    file.set_modified(now - Duration::from_secs(7_200)).unwrap();
    let hour_ago = Timestamp::from(now).before(Duration::from_secs(3_600));
    let store = PutsAgain(store);
    assert_eq!(
        collect_garbage(&lineage, &store, None, hour_ago, GarbageMode::DryRun).unwrap().len(),
        1
    );
    assert_eq!(collect_garbage(&lineage, &store, None, hour_ago, GarbageMode::Remove).unwrap(), []);
    assert!(store.read(old.hash).is_ok());
}

#[test]
fn puts_and_collections_of_the_same_content_from_many_threads_leave_it_there() {
    let (folder, store) = open();
    let lineage = InMemoryLineageStore::new();
    lineage.record(record()).unwrap();
    for _ in 0..50 {
        let artifact = store.put_bytes(b"the same").unwrap();
        let two_hours_ago = std::time::SystemTime::now() - Duration::from_secs(7_200);
        fs::File::open(file_of(folder.path(), artifact))
            .unwrap()
            .set_modified(two_hours_ago)
            .unwrap();
        let hour_ago = Timestamp::from(two_hours_ago).after(Duration::from_secs(3_600));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                collect_garbage(&lineage, &store, None, hour_ago, GarbageMode::Remove).unwrap()
            });
            scope.spawn(|| store.put_bytes(b"the same").unwrap());
        });
        assert!(store.read(artifact.hash).is_ok(), "its put had returned");
    }
}

#[test]
fn altered_bytes_go_to_quarantine_and_stay_corrupt_until_they_are_put_again() {
    let (folder, store) = open();
    let artifact = store.put_bytes(b"weights").unwrap();
    overwrite(&file_of(folder.path(), artifact), b"wEights");
    for _ in 0..2 {
        assert!(matches!(store.read(artifact.hash), Err(StoreError::Corrupt { .. })));
    }
    assert!(!file_of(folder.path(), artifact).exists());
    assert!(folder.path().join("quarantine").join(artifact.hash.to_string()).exists());
    store.put_bytes(b"weights").unwrap();
    assert_eq!(store.read(artifact.hash).unwrap(), b"weights");
    store.remove(artifact.hash).unwrap();
    assert!(matches!(store.read(artifact.hash), Err(StoreError::NotFound { .. })));
}

#[test]
fn an_artifact_above_the_limit_is_refused_and_leaves_nothing() {
    let (folder, store) = open();
    let store = store.with_max_size(10);
    store.put_bytes(&[7; 10]).unwrap();
    let refused = store.put_bytes(&[7; 1_000_000]);
    assert!(matches!(refused, Err(StoreError::LimitExceeded { limit: 10, .. })), "{refused:?}");
    let endless = store.put(&mut std::io::repeat(7));
    assert!(matches!(endless, Err(StoreError::LimitExceeded { .. })));
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(fs::read_dir(folder.path().join("temporary")).unwrap().count(), 0);
}

#[test]
fn what_a_crash_left_behind_is_swept_when_it_is_a_day_old() {
    let (folder, store) = open();
    drop(store);
    for (name, hours) in [("old", 25), ("young", 23)] {
        let path = folder.path().join("temporary").join(name);
        fs::write(&path, "half").unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(3_600 * hours);
        fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
    }
    FileArtifactStore::open(folder.path()).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path().join("temporary"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["young"]);
}

#[test]
fn a_stranger_among_the_artifacts_fails_no_list() {
    let (folder, store) = open();
    let artifact = store.put_bytes(b"weights").unwrap();
    let shard = file_of(folder.path(), artifact).parent().unwrap().to_owned();
    let planted = shard.join(format!("{}{}", &artifact.hash.to_string()[..2], "0".repeat(62)));
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    fs::rename(folder.path().join("s"), &planted).unwrap();
    let locked = shard.join(format!("{}{}", &artifact.hash.to_string()[..2], "1".repeat(62)));
    fs::write(&locked, "x").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(folder.path().join("objects").join("README"), "x").unwrap();
    let hashes: Vec<_> = store.list().unwrap().iter().map(|info| info.artifact.hash).collect();
    assert_eq!(hashes.len(), 2);
    assert!(hashes.contains(&artifact.hash));
}

/// The memory that the process has, in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Passes bytes on, and notes the most memory that the process has meanwhile.
struct Watched<T>(T, u64);

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1.max(resident());
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = self.1.max(resident());
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn sevens(bytes: u64) -> Watched<impl Read> {
    Watched(io::repeat(7).take(bytes), 0)
}

#[test]
fn a_large_artifact_is_hashed_and_read_in_flat_memory() {
    const LEAST: u64 = 128 << 20;
    const FLAT: u64 = 64 << 20;
    let gibibytes: Option<u64> =
        std::env::var("MLP_LINEAGE_GIBIBYTES").ok().map(|text| text.parse().unwrap());
    let bytes = gibibytes.map_or(LEAST, |gibibytes| gibibytes << 30);
    let put_and_read = || {
        let (_folder, store) = open();
        let before = resident();
        let (mut source, mut target) = (sevens(bytes), Watched(io::sink(), 0));
        let artifact = store.put(&mut source).unwrap();
        assert_eq!(artifact.size, bytes);
        assert_eq!(store.copy_to(artifact.hash, &mut target).unwrap(), bytes);
        source.1.max(target.1).saturating_sub(before)
    };
    // Other tests of this process may run beside it, and take memory: the least of some tries counts.
    let mut grown = u64::MAX;
    for _ in 0..3 {
        grown = grown.min(put_and_read());
        if grown < FLAT {
            break;
        }
    }
    assert!(grown < FLAT, "{grown} bytes more for {bytes}");
    eprintln!("{bytes} bytes put and read with {grown} bytes of memory");
    // The control: a copy in memory shows.
    let (before, mut source, mut copy) = (resident(), sevens(LEAST), Vec::new());
    source.read_to_end(&mut copy).unwrap();
    assert!(before == 0 || source.1.saturating_sub(before) > FLAT, "{before}, then {}", source.1);
}
