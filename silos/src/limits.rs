//! Every limit of this crate.

use std::time::Duration;

/// An extent, and so a blob, is at most this long.
pub const MAX_EXTENT: u64 = 1 << 30;
/// A description (what a blob says of itself) is at most this long.
pub const MAX_DESCRIPTION: usize = 16 << 10;
/// A description asked for before the body travels in a header: buckets take 2 KiB of metadata, names and base64 included.
/// A longer one is left out there, and the blob then says nothing of itself.
pub const MAX_DESCRIPTION_BEFORE_BODY: usize = 1400;
/// Reads deliver pieces of this size, aligned to multiples of it: the grain of block checksums.
pub const BLOCK: usize = 256 << 10;
/// A page of a listing has at most this many names.
pub const MAX_LIST_PAGE: usize = 1000;
/// A silo reached over a network must answer the head of a response within this.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A read's answer from a bucket must begin within this. All tries together stay below the minute that clients wait.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer to or from a silo that moves no byte for this long is given up.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// So much of a body is taken by buffers on the way though nobody is there: Linux lets a connection's grow to 4 MiB.
pub const BUFFERED_ON_THE_WAY: u64 = 4 << 20;
/// Threads one POSIX silo may keep busy; a hung mount stops only its own.
pub const POSIX_THREADS: usize = 64;
/// Jobs that may wait for those threads; beyond it the silo answers that it is too busy.
pub const POSIX_QUEUE: usize = 4096;
/// A thread without work ends after this.
pub const POSIX_THREAD_IDLE: Duration = Duration::from_secs(10);
/// A body up to this long is gathered first and then written in one job; a longer one in steps of [`WRITE_STEP`].
pub const GATHERED_BODY: u64 = 256 << 10;
/// Bytes of a long body written at once. One step is gathered while another is written.
pub const WRITE_STEP: usize = 512 << 10;
/// The disk is asked to begin with a long body whenever so many bytes more were written, so that it works while the rest
/// is sent and the last flush is short.
pub const FLUSH_STEP: u64 = 4 << 20;
/// The slowest disk whose fsync of a long blob is waited for, bytes per second.
pub const SLOWEST_FLUSH: u64 = 4 << 20;
/// Block buffers kept for the next read, of all silos of the process.
pub const IDLE_BUFFERS: usize = 128;
/// Folders of a POSIX silo kept open for writing.
pub const OPEN_FOLDERS: usize = 64;
/// A marker is at most this long.
pub const MAX_MARKER: usize = 64 << 10;
/// Folders below folders deeper than this are not ours and not listed.
pub const MAX_DEPTH: usize = 16;
/// Folders of others below folders deeper than this are not walked: each level keeps one open.
pub const FOREIGN_DEPTH: usize = 200;
/// Entries of one folder of others that are in memory at once; a larger folder is read again for the next ones.
pub const FOREIGN_ENTRIES: usize = 64 << 10;
/// Folders of one watch: each takes one of the kernel's, and some memory.
pub const WATCHED_FOLDERS: usize = 1 << 20;
/// Folders that are watched, and looked through, in one go.
pub const WATCHED_TOGETHER: usize = 256;
/// How often it is looked whether a folder that is watched still stands under its path.
pub const WATCH_CHECK: Duration = Duration::from_secs(10);
/// Where changes came faster than they were told, it is waited this long before all is looked at.
pub const WATCH_STORM: Duration = Duration::from_secs(1);
/// A file that was changed just now is read after at most this.
pub const MAX_SETTLING: Duration = Duration::from_secs(4);
/// A connection to a bucket is made within this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that nobody used for this long is closed before its server does it in the middle of a request: Apache waits
/// five seconds.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(4);
/// How often a read is tried, from its beginning or from where it broke off. Writes and deletes are tried once.
pub const READ_TRIES: u32 = 3;
/// The pause before a read is tried again; it doubles.
pub const READ_PAUSE: Duration = Duration::from_millis(100);
/// A body goes to a bucket in pieces of at most this, so that a slow transfer shows progress.
pub const SEND_PIECE: usize = 64 << 10;
/// The longest answer read into memory: a page of a listing, each of its names as long as names get and
/// percent-encoded.
pub const MAX_ANSWER: usize = 8 << 20;
/// The longest page of a folder, and the longest list of names: a file server says of a folder in one answer what a bucket
/// says in many.
pub const MAX_LIST: usize = 64 << 20;
/// Names of one step of a walk that are looked at at once, where a listing does not say what they are.
pub const LOOKS_AT_ONCE: usize = 16;
/// Entries of one folder that is listed whole; a larger one is not listed.
pub const MAX_FOLDER: usize = 1 << 20;
/// Requests of one walk of a bucket that are under way at once.
pub const LISTS_AT_ONCE: usize = 8;
/// A walk of a bucket is cut into stretches of about so many pages, which are listed beside each other. Longer ones would not
/// all fit into [`PAGES_AHEAD`]; of each the last page is listed in vain by half.
pub const STRETCH_PAGES: usize = 6;
/// A stretch that has become so long is cut again.
pub const LONG_STRETCH: usize = 8;
/// Before so many pages came nothing is cut: a short listing would not be done sooner.
pub const PAGES_BEFORE_CUTS: usize = 3;
/// Stretches that a walk of a bucket consists of at once.
pub const MAX_STRETCHES: usize = 64;
/// Pages that a walk of a bucket has, or has asked for, before its caller wants them, up to the end of a stretch,
pub const PAGES_AHEAD: usize = 48;
/// and in all: what is wanted next has room though much came early. A page takes about 300 KiB, and 1.3 MiB where names are as
/// long as they get.
pub const PAGES_HELD: usize = 64;
/// A queue is waited at for so long at a time, in whole seconds (SQS),
pub const QUEUE_WAIT: Duration = Duration::from_secs(20);
/// and hands out so many messages at once (SQS).
pub const QUEUE_BATCH: usize = 10;
/// Files and folders open at once on an SFTP server. OpenSSH names them by their number, in bytes, and beyond 127 those
/// are no text, which the library takes them for.
pub const SFTP_HANDLES: usize = 100;
/// Folders that one step of a walk lists once it has found anything.
pub const FOLDERS_A_STEP: usize = 32;
/// The longest part of an error's text that is kept.
pub const MAX_REASON: usize = 300;
/// Places in listings that one Azure silo remembers: pages of the listings that go on at once.
pub const FLOORS: usize = 256;
/// They are forgotten after this, so that what was put right behind one is listed at last.
pub const FLOOR_AGE: Duration = Duration::from_hours(1);
/// Bytes of a file's name, its folders left out, on all file systems of Linux.
pub const MAX_SEGMENT: usize = 255;
