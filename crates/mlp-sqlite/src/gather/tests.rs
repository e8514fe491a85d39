//! The layer over a file in memory, without anything of SQLite.
#![allow(unsafe_code, reason = "the tests call the layer as SQLite does")]

use std::ffi::{c_int, c_void};
use std::ptr;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use super::held::CAPACITY;
use super::shim::{self, Gather};

/// What a page of the log is written by.
const HEADER: usize = 24;
const PAGE: usize = 4096;

/// A file in memory, as a VFS gives it to SQLite.
#[repr(C)]
struct Disk {
    methods: *const sqlite3_io_methods,
    bytes: Vec<u8>,
    /// Offset and length of each call.
    writes: Vec<(i64, usize)>,
    syncs: usize,
    unlocked: usize,
    is_closed: bool,
    /// What writes answer.
    fault: c_int,
    traits: c_int,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(disk_close),
    xRead: Some(disk_read),
    xWrite: Some(disk_write),
    xTruncate: Some(disk_truncate),
    xSync: Some(disk_sync),
    xFileSize: Some(disk_size),
    xLock: None,
    xUnlock: None,
    xCheckReservedLock: None,
    xFileControl: Some(disk_control),
    xSectorSize: None,
    xDeviceCharacteristics: Some(disk_traits),
    xShmMap: None,
    xShmLock: Some(disk_shm_lock),
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe fn disk<'a>(file: *mut sqlite3_file) -> &'a mut Disk {
    unsafe { &mut *file.cast() }
}

unsafe extern "C" fn disk_close(file: *mut sqlite3_file) -> c_int {
    unsafe { disk(file) }.is_closed = true;
    ffi::SQLITE_OK
}

unsafe extern "C" fn disk_read(
    file: *mut sqlite3_file,
    data: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let disk = unsafe { disk(file) };
    let wanted = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), amount as usize) };
    let there = disk.bytes.get(offset as usize..).unwrap_or_default();
    let there = &there[..there.len().min(wanted.len())];
    wanted.fill(0);
    wanted[..there.len()].copy_from_slice(there);
    if there.len() < wanted.len() { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK }
}

unsafe extern "C" fn disk_write(
    file: *mut sqlite3_file,
    data: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let disk = unsafe { disk(file) };
    if disk.fault != ffi::SQLITE_OK {
        return disk.fault;
    }
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), amount as usize) };
    let (begin, end) = (offset as usize, offset as usize + data.len());
    disk.bytes.resize(disk.bytes.len().max(end), 0);
    disk.bytes[begin..end].copy_from_slice(data);
    disk.writes.push((offset, data.len()));
    ffi::SQLITE_OK
}

unsafe extern "C" fn disk_truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    unsafe { disk(file) }.bytes.truncate(size as usize);
    ffi::SQLITE_OK
}

unsafe extern "C" fn disk_sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    unsafe { disk(file) }.syncs += 1;
    ffi::SQLITE_OK
}

unsafe extern "C" fn disk_size(file: *mut sqlite3_file, size: *mut i64) -> c_int {
    unsafe { *size = disk(file).bytes.len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn disk_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn disk_traits(file: *mut sqlite3_file) -> c_int {
    unsafe { disk(file) }.traits
}

unsafe extern "C" fn disk_shm_lock(
    file: *mut sqlite3_file,
    _: c_int,
    _: c_int,
    flags: c_int,
) -> c_int {
    unsafe { disk(file) }.unlocked += usize::from(flags & ffi::SQLITE_SHM_UNLOCK != 0);
    ffi::SQLITE_OK
}

/// An open file in memory, called as SQLite calls files.
struct File(*mut sqlite3_file);

macro_rules! call {
    ($file:expr, $name:ident $(, $argument:expr)*) => {
        unsafe { ((*(*$file.0).pMethods).$name.unwrap())($file.0 $(, $argument)*) }
    };
}

impl File {
    fn new(traits: c_int) -> Self {
        let disk = Disk {
            methods: &METHODS,
            bytes: Vec::new(),
            writes: Vec::new(),
            syncs: 0,
            unlocked: 0,
            is_closed: false,
            fault: ffi::SQLITE_OK,
            traits,
        };
        Self(Box::into_raw(Box::new(disk)).cast())
    }

    fn disk(&mut self) -> &mut Disk {
        unsafe { disk(self.0) }
    }

    fn write(&mut self, offset: usize, data: &[u8]) -> c_int {
        call!(self, xWrite, data.as_ptr().cast(), data.len() as c_int, offset as i64)
    }

    fn read(&mut self, offset: usize, amount: usize) -> (c_int, Vec<u8>) {
        let mut data = vec![0xEE; amount];
        let code = call!(self, xRead, data.as_mut_ptr().cast(), amount as c_int, offset as i64);
        (code, data)
    }

    fn sync(&mut self) -> c_int {
        call!(self, xSync, ffi::SQLITE_SYNC_NORMAL)
    }

    fn truncate(&mut self, size: usize) -> c_int {
        call!(self, xTruncate, size as i64)
    }

    fn size(&mut self) -> (c_int, i64) {
        let mut size = -1;
        (call!(self, xFileSize, &mut size), size)
    }

    fn control(&mut self) -> c_int {
        call!(self, xFileControl, ffi::SQLITE_FCNTL_PERSIST_WAL, ptr::null_mut())
    }

    fn lock(&mut self) {
        let flags = ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE;
        assert_eq!(call!(self, xShmLock, 0, 1, flags), ffi::SQLITE_OK);
    }

    fn unlock(&mut self, first: c_int) {
        let flags = ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_EXCLUSIVE;
        assert_eq!(call!(self, xShmLock, first, 1, flags), ffi::SQLITE_OK);
    }

    fn is_untouched(&self) -> bool {
        ptr::eq(unsafe { (*self.0).pMethods }, &METHODS)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        assert_eq!(call!(self, xClose), ffi::SQLITE_OK);
        assert!(self.is_untouched(), "the file below gets its methods back");
        let disk = unsafe { Box::from_raw(self.0.cast::<Disk>()) };
        assert!(disk.is_closed);
    }
}

/// A log and its database. They are dropped in this order, as SQLite closes them.
struct Opened {
    log: File,
    database: File,
}

/// Both, of a connection that has the write lock.
fn opened() -> Opened {
    let (log, mut database) = (File::new(0), File::new(ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE));
    unsafe {
        shim::watch(database.0);
        shim::gather(log.0, database.0);
    }
    database.lock();
    Opened { log, database }
}

/// Writes pages one behind the other, as SQLite does.
fn write_pages(log: &mut File, from: usize, count: usize, fill: u8) -> usize {
    (0..count).fold(from, |at, _| {
        assert_eq!(log.write(at, &[fill; HEADER]), ffi::SQLITE_OK);
        assert_eq!(log.write(at + HEADER, &[fill; PAGE]), ffi::SQLITE_OK);
        at + HEADER + PAGE
    })
}

#[test]
fn writes_that_follow_each_other_are_one_write_before_the_sync() {
    let mut opened = opened();
    let end = write_pages(&mut opened.log, 32, 15, 1);
    assert_eq!(opened.log.disk().writes, []);
    assert_eq!(opened.log.sync(), ffi::SQLITE_OK);
    assert_eq!(opened.log.disk().writes, [(32, 15 * (HEADER + PAGE))]);
    assert_eq!((opened.log.disk().syncs, opened.log.disk().bytes.len()), (1, end));
    assert!(opened.log.disk().bytes[32..].iter().all(|byte| *byte == 1));
    assert_eq!((opened.log.sync(), opened.log.disk().writes.len()), (ffi::SQLITE_OK, 1));
}

#[test]
fn no_write_is_longer_than_what_the_vfs_below_takes() {
    let mut opened = opened();
    write_pages(&mut opened.log, 32, 100, 2);
    opened.log.sync();
    let writes = opened.log.disk().writes.clone();
    let longest = writes.iter().map(|write| write.1).max();
    assert!(longest <= Some(CAPACITY) && CAPACITY <= 0x1_FFFF && writes.len() == 4, "{writes:?}");
    // Larger than what is held at all: as it is, behind what came before.
    assert_eq!(opened.log.write(0, &[3; 8]), ffi::SQLITE_OK);
    assert_eq!(opened.log.write(8, &vec![4; CAPACITY + 1]), ffi::SQLITE_OK);
    assert_eq!(opened.log.disk().writes[4..], [(0, 8), (8, CAPACITY + 1)]);
}

#[test]
fn what_is_read_is_written_before_and_what_is_beside_it_is_not() {
    let mut opened = opened();
    write_pages(&mut opened.log, 0, 1, 5);
    opened.log.sync();
    let end = write_pages(&mut opened.log, HEADER + PAGE, 2, 6);
    assert_eq!(opened.log.read(0, HEADER + PAGE), (ffi::SQLITE_OK, vec![5; HEADER + PAGE]));
    assert_eq!(opened.log.read(end, 10), (ffi::SQLITE_IOERR_SHORT_READ, vec![0; 10]));
    assert_eq!(opened.log.disk().writes.len(), 1);
    assert_eq!(opened.log.read(end - 1, 1), (ffi::SQLITE_OK, vec![6]));
    assert_eq!(opened.log.disk().writes.len(), 2);
}

#[test]
fn any_calls_in_any_order_leave_and_give_what_they_do_without_the_layer() {
    let rounds = if cfg!(miri) { 3 } else { 300 };
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut in_all = (0, 0);
    for _ in 0..rounds {
        let (mut opened, mut plain) = (opened(), File::new(0));
        let mut at = 0;
        for step in 0..100 {
            let (log, length) = (&mut opened.log, [24, 4096, 1, 700][below(4)]);
            match below(10) {
                // A log has no holes.
                0 => at = below(plain.disk().bytes.len() + 1),
                1 => assert_eq!(log.read(at / 2, length), plain.read(at / 2, length)),
                2 => assert_eq!(log.size(), plain.size()),
                3 if below(4) == 0 => assert_eq!(log.truncate(at), plain.truncate(at)),
                4 if below(4) == 0 => assert_eq!(log.control(), plain.control()),
                5 if below(4) == 0 => {
                    assert_eq!(log.sync(), plain.sync());
                    assert!(log.disk().bytes == plain.disk().bytes);
                }
                _ => {
                    let data = vec![step as u8 + 1; length];
                    assert_eq!(log.write(at, &data), plain.write(at, &data));
                    at += length;
                }
            }
        }
        opened.log.sync();
        assert!(opened.log.disk().bytes == plain.disk().bytes);
        in_all = (in_all.0 + opened.log.disk().writes.len(), in_all.1 + plain.disk().writes.len());
    }
    assert!(in_all.0 < in_all.1, "nothing was gathered: {in_all:?}");
}

#[test]
fn what_cannot_be_written_fails_every_call_that_counts_on_it_until_the_write_lock_is_given_back() {
    for fault in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE] {
        let mut opened = opened();
        let written = write_pages(&mut opened.log, 0, 1, 7);
        opened.log.sync();
        let end = write_pages(&mut opened.log, written, 2, 8);
        opened.log.disk().fault = fault;
        assert_eq!(opened.log.read(written, 1).0, fault);
        // The disk has room again; but SQLite was told that pages are written which are not.
        opened.log.disk().fault = ffi::SQLITE_OK;
        opened.database.unlock(3);
        assert_eq!(opened.log.write(end, &[9; HEADER]), fault);
        assert_eq!(opened.log.write(0, &[9; HEADER]), fault);
        assert_eq!((opened.log.sync(), opened.log.truncate(0)), (fault, fault));
        assert_eq!((opened.log.size().0, opened.log.control()), (fault, fault));
        assert_eq!(opened.log.read(end - 1, 1).0, fault);
        assert_eq!(opened.log.read(0, written), (ffi::SQLITE_OK, vec![7; written]));
        assert_eq!((opened.log.disk().syncs, opened.log.disk().bytes.len()), (1, written));
        opened.database.unlock(0);
        assert_eq!(opened.database.disk().unlocked, 2);
        opened.database.lock();
        let end = write_pages(&mut opened.log, written, 1, 9);
        assert_eq!(opened.log.sync(), ffi::SQLITE_OK);
        assert_eq!((opened.log.size(), opened.log.disk().writes.len()), ((0, end as i64), 2));
        assert!(opened.log.disk().bytes[written..].iter().all(|byte| *byte == 9));
    }
}

#[test]
fn a_write_that_is_refused_since_an_earlier_one_failed_is_not_taken() {
    let mut opened = opened();
    assert_eq!(opened.log.write(0, &[1; 10]), ffi::SQLITE_OK);
    opened.log.disk().fault = ffi::SQLITE_FULL;
    assert_eq!(opened.log.write(50, &[2; 10]), ffi::SQLITE_FULL);
    opened.log.disk().fault = ffi::SQLITE_OK;
    assert_eq!(opened.log.sync(), ffi::SQLITE_FULL);
    opened.database.unlock(0);
    assert_eq!((opened.log.sync(), opened.log.disk().bytes.len()), (ffi::SQLITE_OK, 0));
}

#[test]
fn what_was_not_committed_does_not_go_over_what_others_write_after_the_lock_is_given_back() {
    let mut opened = opened();
    write_pages(&mut opened.log, 0, 3, 1);
    opened.database.unlock(0);
    // Another process.
    opened.log.disk().bytes = vec![2; 3 * (HEADER + PAGE)];
    assert_eq!(opened.log.read(HEADER, PAGE), (ffi::SQLITE_OK, vec![2; PAGE]));
    opened.database.lock();
    write_pages(&mut opened.log, 3 * (HEADER + PAGE), 1, 3);
    opened.log.sync();
    assert!(opened.log.disk().bytes[..3 * (HEADER + PAGE)].iter().all(|byte| *byte == 2));
    // The control: without the lock being given back they do.
    let mut opened = self::opened();
    write_pages(&mut opened.log, 0, 3, 1);
    opened.log.disk().bytes = vec![2; 3 * (HEADER + PAGE)];
    assert_eq!(opened.log.read(HEADER, PAGE), (ffi::SQLITE_OK, vec![1; PAGE]));
}

#[test]
fn closing_writes_nothing_of_a_transaction_that_has_not_ended() {
    let Opened { mut log, database } = opened();
    write_pages(&mut log, 0, 1, 1);
    assert_eq!(call!(log, xClose), ffi::SQLITE_OK);
    assert!(log.is_untouched() && log.disk().bytes.is_empty());
    drop((log, database));
}

#[test]
fn without_the_write_lock_nothing_is_held() {
    let mut opened = opened();
    write_pages(&mut opened.log, 0, 1, 1);
    opened.database.unlock(3);
    assert_eq!(opened.log.disk().writes, []);
    opened.database.unlock(0);
    write_pages(&mut opened.log, 0, 1, 2);
    assert_eq!(opened.log.disk().writes, [(0, HEADER), (HEADER as i64, PAGE)]);
    assert!(opened.log.disk().bytes.iter().all(|byte| *byte == 2));
}

#[test]
fn the_log_of_a_database_on_a_device_that_damages_neighbours_is_left_as_it_is() {
    let (log, database) = (File::new(ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE), File::new(0));
    unsafe {
        shim::watch(database.0);
        shim::gather(log.0, database.0);
    }
    assert!(log.is_untouched() && !database.is_untouched());
}

unsafe extern "C" fn disk_open(
    vfs: *mut sqlite3_vfs,
    _: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    _: *mut c_int,
) -> c_int {
    assert_eq!(unsafe { (*vfs).szOsFile }, 77, "it gets itself");
    unsafe { disk(file) }.syncs += 1;
    if flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0 { ffi::SQLITE_CANTOPEN } else { ffi::SQLITE_OK }
}

#[test]
fn only_databases_and_logs_that_were_opened_get_methods_of_ours() {
    // SAFETY: of no pointer and no function, which is what each field may be.
    let mut below: sqlite3_vfs = unsafe { std::mem::zeroed() };
    below.szOsFile = 77;
    below.xOpen = Some(disk_open);
    let below = Box::into_raw(Box::new(below));
    let gather = Box::into_raw(Box::new(unsafe { Gather::over(below) }));
    let vfs: *mut sqlite3_vfs = gather.cast();
    let open = unsafe { (*vfs).xOpen.unwrap() };
    for (flags, code, is_ours) in [
        (ffi::SQLITE_OPEN_MAIN_DB, ffi::SQLITE_OK, true),
        (ffi::SQLITE_OPEN_MAIN_JOURNAL, ffi::SQLITE_OK, false),
        (ffi::SQLITE_OPEN_TEMP_DB, ffi::SQLITE_OK, false),
        (ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_EXCLUSIVE, ffi::SQLITE_CANTOPEN, false),
        (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_EXCLUSIVE, ffi::SQLITE_CANTOPEN, false),
    ] {
        let mut file = File::new(0);
        let opened = unsafe { open(vfs, ptr::null(), file.0, flags, ptr::null_mut()) };
        assert_eq!((opened, !file.is_untouched(), file.disk().syncs), (code, is_ours, 1));
    }
    drop(unsafe { (Box::from_raw(gather), Box::from_raw(below)) });
}
