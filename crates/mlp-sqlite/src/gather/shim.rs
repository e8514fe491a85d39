//! The layer itself: what SQLite calls, and what it calls in turn. The only unsafe code of the crate.
//!
//! A file is opened by SQLite's own VFS, in the memory that it asks for. Then the table of its methods is exchanged for a copy in which some are
//! ours; ours find what they need behind that copy, and call the methods that were there. Of a database that is the lock and the closing, of
//! its log whatever concerns the content. Other files are left as they are.
//!
//! What makes it sound, beside what SQLite promises to every VFS (a file is used by one thread at a time, from its opening to its closing,
//! and moved by nobody):
//!
//! * A [`Methods`] is made in [`install`] and dropped in [`close`], the first and the last that happens to a file of ours. In between the file
//!   points to it, and nothing else does; references to it end with each call.
//! * Only the VFS of SQLite itself is built upon ([`KNOWN`]): its tables of methods are constants, and its functions ask neither which
//!   table a file points to (only locks by proxy on Apple's systems do, when told to begin or to end, which nobody does here) nor what stands
//!   behind the `sqlite3_vfs` that they are given.
//! * Nothing here panics on purpose, and a panic that leaves an `extern "C"` function ends the process instead of going on in SQLite.
#![allow(unsafe_code, reason = "SQLite calls a VFS by pointers; the proof is above")]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rusqlite::ffi::{self, sqlite3_file, sqlite3_filename, sqlite3_io_methods, sqlite3_vfs};

use super::held::Held;

const NAME: &CStr = c"mlp-gather";
/// The default VFS of SQLite.
const KNOWN: &CStr = c"unix";
/// The number of the lock that whoever writes has (`WAL_WRITE_LOCK`, part of the format of the wal-index).
const WRITE_LOCK: c_int = 0;

/// A VFS of our own, in front of another one.
#[repr(C)]
pub(super) struct Gather {
    ours: sqlite3_vfs,
    real: *mut sqlite3_vfs,
}

/// The methods of a file of ours, and what they need.
#[repr(C)]
struct Methods {
    ours: sqlite3_io_methods,
    real: &'static sqlite3_io_methods,
    /// A database shares it with its log.
    held: Arc<Mutex<Held>>,
}

/// Calls a method of the file below.
macro_rules! real {
    ($methods:ident.$name:ident($($argument:expr),*)) => {
        match $methods.real.$name {
            // SAFETY: SQLite gave us these arguments for this very method of this file.
            Some(method) => unsafe { method($($argument),*) },
            None => ffi::SQLITE_IOERR,
        }
    };
}

/// The name of the VFS, which is registered once for the process; none while the default VFS is not the one that it was built upon, which the other
/// connections of a database have.
pub(super) fn registered() -> Option<&'static CStr> {
    /// The address of the VFS below.
    static BELOW: OnceLock<Option<usize>> = OnceLock::new();
    // SAFETY: what is found is registered and stays so; nobody unregisters SQLite's own.
    let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    if real.is_null() || unsafe { CStr::from_ptr((*real).zName) } != KNOWN {
        return None;
    }
    let below = BELOW.get_or_init(|| {
        // SAFETY: as above. SQLite keeps and changes what it is given, which is never freed.
        let registered = unsafe {
            let gather = Box::into_raw(Box::new(undisturbed(|| Gather::over(real))));
            ffi::sqlite3_vfs_register(gather.cast(), 0)
        };
        (registered == ffi::SQLITE_OK).then_some(real.addr())
    });
    (*below == Some(real.addr())).then_some(NAME)
}

/// Does something while nobody registers a VFS, by which the others are changed.
///
/// # Safety
/// SQLite has been initialized, and the work calls nothing of it.
pub(super) unsafe fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the caller's; static mutexes are never freed. None is returned where SQLite was built for one thread, which the others take for nothing.
    unsafe {
        let mutex = ffi::sqlite3_mutex_alloc(ffi::SQLITE_MUTEX_STATIC_MAIN);
        ffi::sqlite3_mutex_enter(mutex);
        let done = work();
        ffi::sqlite3_mutex_leave(mutex);
        done
    }
}

impl Gather {
    /// # Safety
    /// The VFS is [`KNOWN`], or as undemanding, lasts as long as this one, and is not changed meanwhile.
    pub(super) unsafe fn over(real: *mut sqlite3_vfs) -> Self {
        // SAFETY: the caller's.
        let below = unsafe { *real };
        let ours = sqlite3_vfs {
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            ..below
        };
        Self { ours, real }
    }
}

/// `xOpen`.
unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: this is a method of a `Gather`, which begins with its `sqlite3_vfs`. The VFS below gets what SQLite gave us. The name of a log comes
    // from the pager of its database, whose file this VFS has opened before.
    unsafe {
        let real = (*vfs.cast::<Gather>()).real;
        let Some(open_real) = (*real).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open_real(real, name, file, flags, flags_out);
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            watch(file);
        } else if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_WAL != 0 {
            gather(file, ffi::sqlite3_database_file_object(name));
        }
        code
    }
}

/// Watches the locks of a database.
///
/// # Safety
/// The file was opened just now, by a VFS that is [`KNOWN`] or as undemanding.
pub(super) unsafe fn watch(file: *mut sqlite3_file) {
    // SAFETY: an open file points to its methods, which are a constant of such a VFS.
    let real: &'static sqlite3_io_methods = unsafe { &*(*file).pMethods };
    let ours = sqlite3_io_methods {
        xClose: Some(close),
        xShmLock: real.xShmLock.and(Some(shm_lock)),
        ..*real
    };
    unsafe { install(file, Methods { ours, real, held: Arc::default() }) };
}

/// Gathers what is written to the log of a database.
///
/// # Safety
/// As [`watch`], which was done to the open database.
pub(super) unsafe fn gather(file: *mut sqlite3_file, database: *mut sqlite3_file) {
    // SAFETY: the caller's.
    let watched = unsafe { Methods::of(database) };
    // It is the database that `sqlite3WalOpen` asks, too.
    let ask = watched.real.xDeviceCharacteristics;
    let traits = ask.map_or(0, |ask| unsafe { ask(database) });
    if traits & ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE == 0 {
        return;
    }
    // SAFETY: as above.
    let real: &'static sqlite3_io_methods = unsafe { &*(*file).pMethods };
    // Of the first version: a log has neither locks nor pages that are mapped into memory.
    let ours = sqlite3_io_methods {
        iVersion: 1,
        xClose: Some(close),
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        xFileSize: Some(file_size),
        xFileControl: Some(file_control),
        ..*real
    };
    let held = Arc::clone(&watched.held);
    unsafe { install(file, Methods { ours, real, held }) };
}

/// # Safety
/// The file is open, its methods are those that these are made of, and nobody calls any of them meanwhile.
unsafe fn install(file: *mut sqlite3_file, methods: Methods) {
    // SAFETY: the caller's. The table is the first that a `Methods` has.
    unsafe { (*file).pMethods = Box::into_raw(Box::new(methods)).cast() };
}

impl Methods {
    /// # Safety
    /// The file is open and one of ours; the reference is not kept beyond that.
    unsafe fn of<'a>(file: *mut sqlite3_file) -> &'a Self {
        // SAFETY: `install` has made the pointer, to the whole of it.
        unsafe { &*(*file).pMethods.cast() }
    }

    /// What puts bytes into the file below.
    fn put(&self, file: *mut sqlite3_file) -> impl Fn(i64, &[u8]) -> Result<(), c_int> {
        move |offset, bytes| {
            let amount = bytes.len() as c_int;
            checked(real!(self.xWrite(file, bytes.as_ptr().cast(), amount, offset)))
        }
    }

    fn flush(&self, file: *mut sqlite3_file) -> Result<(), c_int> {
        self.held.lock().flush(self.put(file))
    }
}

fn checked(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

// From here on each is a method that SQLite calls.
// SAFETY of `Methods::of` in all: the file is one of ours, since only its table has them, and open.

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as above. `install` has made the box, and the file forgets it here.
    let methods = unsafe {
        let methods = Box::from_raw((*file).pMethods.cast_mut().cast::<Methods>());
        (*file).pMethods = methods.real;
        methods
    };
    // Every transaction has ended before: what was committed is in the file.
    methods.held.lock().forget();
    real!(methods.xClose(file))
}

unsafe extern "C" fn shm_lock(
    file: *mut sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let methods = unsafe { Methods::of(file) };
    let is_of_writer = first == WRITE_LOCK;
    if is_of_writer && flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        methods.held.lock().forget();
    }
    let code = real!(methods.xShmLock(file, first, count, flags));
    if is_of_writer && flags & ffi::SQLITE_SHM_LOCK != 0 && code == ffi::SQLITE_OK {
        methods.held.lock().begin();
    }
    code
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    data: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let methods = unsafe { Methods::of(file) };
    // SAFETY: SQLite gives as many bytes as it says, never less than none.
    let data = unsafe { std::slice::from_raw_parts(data.cast(), amount as usize) };
    let written = methods.held.lock().write(offset, data, methods.put(file));
    written.err().unwrap_or(ffi::SQLITE_OK)
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    data: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let methods = unsafe { Methods::of(file) };
    if let Err(code) = methods.held.lock().read(offset, amount.into(), methods.put(file)) {
        return code;
    }
    real!(methods.xRead(file, data, amount, offset))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    let methods = unsafe { Methods::of(file) };
    if let Err(code) = methods.flush(file) {
        return code;
    }
    real!(methods.xTruncate(file, size))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let methods = unsafe { Methods::of(file) };
    if let Err(code) = methods.flush(file) {
        return code;
    }
    real!(methods.xSync(file, flags))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut i64) -> c_int {
    let methods = unsafe { Methods::of(file) };
    if let Err(code) = methods.flush(file) {
        return code;
    }
    real!(methods.xFileSize(file, size))
}

unsafe extern "C" fn file_control(
    file: *mut sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    let methods = unsafe { Methods::of(file) };
    if let Err(code) = methods.flush(file) {
        return code;
    }
    real!(methods.xFileControl(file, operation, argument))
}
