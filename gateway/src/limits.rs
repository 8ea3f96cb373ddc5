//! Every limit of this crate.

use std::time::Duration;

/// Connections a listener holds at once; beyond it the longest idle one makes room for a new one.
pub const CONNECTIONS: usize = 4096;
/// A request's head must be complete within this, counted from the end of the request before it.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A TLS handshake must be complete within this.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A shutdown waits this long for requests in flight before it cuts them off.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// After an answer that leaves a body unread, what the client still sends is read away for this long, because
/// closing at once would reset the connection and take the answer with it.
pub const LINGER: Duration = Duration::from_secs(2);
/// How much of such a body is read away at most.
pub const LINGER_BYTES: usize = 64 << 20;
/// How long the accept loop rests when the process is out of file descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Head of a request that the HTTP parser takes at all; beyond it the answer is a bare 431.
pub const MAX_PARSED_HEAD: usize = 64 << 10;
/// Names and values of a request's headers and its target, together (AWS: 8 KiB).
pub const MAX_HEAD: usize = 16 << 10;
/// Headers of a request. 2 KiB of user metadata may be 80 short ones.
pub const MAX_HEADERS: usize = 100;

/// Bytes a second that a client must send or take on average; slower ones hold memory for nothing.
pub const MIN_RATE: u64 = 1 << 10;
/// How long a client that sends a body may be silent.
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a client that takes a body may be silent. Longer than for sending: a socket reports room only when a
/// third of its buffer is free, which takes a slow but honest reader more than a minute.
pub const ANSWER_PATIENCE: Duration = Duration::from_mins(2);

/// How far a request's time may be from ours (S3).
pub const MAX_SKEW: Duration = Duration::from_mins(15);
/// A presigned URL lives at most this long (S3).
pub const MAX_EXPIRES: u64 = 7 * 24 * 3600;
/// An access key id, region or service name of a credential.
pub const MAX_CREDENTIAL: usize = 256;
/// Derived signing keys that are remembered.
pub const SIGNING_KEYS: usize = 4096;
/// A signed chunk is held back until its signature matched, so it has a limit.
pub const MAX_SIGNED_CHUNK: u64 = 16 << 20;
/// `size;chunk-signature=…` with its line end.
pub const MAX_CHUNK_HEADER: usize = 128;
/// All trailing headers of a body together.
pub const MAX_TRAILER: usize = 4 << 10;
/// How often the certificate's files are looked at for a renewed one.
pub const CERTIFICATE_POLL: Duration = Duration::from_mins(1);

/// Body of an admin request.
pub const ADMIN_BODY: usize = 1 << 20;
/// How often it is looked which queues of notifications are declared.
pub const QUEUE_LOOK: Duration = Duration::from_secs(1);
/// A queue that had nothing is asked again after this, should it not have let anybody wait. One that cannot be asked
/// is asked again after this, then each time after twice as long,
pub const QUEUE_REST: Duration = Duration::from_secs(1);
/// and never later than this.
pub const QUEUE_REST_AT_MOST: Duration = Duration::from_mins(1);
/// How often the admin API says how far a snapshot of the index came.
pub const PROGRESS: Duration = Duration::from_millis(250);

/// Objects are compared with objectives at most and at least this often, where they are by themselves.
pub const SOONEST_COMPARISON: Duration = Duration::from_secs(1);
/// See [`SOONEST_COMPARISON`].
pub const RAREST_COMPARISON: Duration = Duration::from_hours(31 * 24);
/// The inventory is written at most this often, where it is by itself.
pub const SOONEST_INVENTORY: Duration = Duration::from_secs(10);
/// All that a silo holds is read at most this often by itself,
pub const SOONEST_SCRUB: Duration = Duration::from_hours(1);
/// and at least this often.
pub const RAREST_SCRUB: Duration = Duration::from_hours(3650 * 24);
/// Snapshots of the index are this far apart at least: one takes a moment, and lists every silo.
pub const SOONEST_SNAPSHOT: Duration = Duration::from_secs(1);
/// And this far at most: a restore reads the log of all that time.
pub const RAREST_SNAPSHOT: Duration = Duration::from_hours(31 * 24);
/// Backups are kept for ten years at most.
pub const LONGEST_KEPT: Duration = Duration::from_hours(3650 * 24);

/// A request's XML, unless it says otherwise.
pub const MAX_XML: usize = 1 << 20;
/// A `CompleteMultipartUpload` (10,000 parts with their `ETag`s and the longest checksum stay under 4 MiB) or a
/// `DeleteObjects` (1,000 keys of 1,024 bytes, each written as `&quot;`, stay under 7 MiB).
pub const MAX_LONG_XML: usize = 8 << 20;
/// How deep a request's elements may nest; S3's own need 6.
pub const MAX_XML_DEPTH: usize = 16;
/// Elements of a request's XML; each costs memory beyond its bytes. A part has at most a dozen.
pub const MAX_XML_ELEMENTS: usize = 120_000;
/// Keys of one `DeleteObjects` (S3).
pub const MAX_DELETE_KEYS: usize = 1000;
/// Keys of one `DeleteObjects` that are under way at once, so that their commits share fsyncs.
pub const DELETES_AT_ONCE: usize = 32;
/// Lines of a page (S3).
pub const MAX_PAGE: usize = 1000;
/// Buckets of a page (S3).
pub const MAX_BUCKET_PAGE: usize = 10_000;
/// Characters of a tag's key (S3).
pub const MAX_TAG_KEY: usize = 128;
/// Characters of a tag's value (S3).
pub const MAX_TAG_VALUE: usize = 256;
/// A PUT that comes in HTTP's own chunks and does not say its size is held in memory up to this, to learn it.
pub const MAX_UNSIZED_BODY: usize = 1 << 20;
/// How often a copy begins again because its source was replaced under it.
pub const COPY_TRIES: usize = 8;
