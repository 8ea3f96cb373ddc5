//! Every limit of this crate.

use std::time::Duration;

/// An object key has at most this many bytes (S3).
pub const MAX_KEY: usize = 1024;
/// An object has at most this many bytes (S3's 5 TiB).
pub const MAX_OBJECT: u64 = 5 << 40;
/// One PUT or part carries at most this many bytes (S3's 5 GiB).
pub const MAX_PUT: u64 = 5 << 30;
/// An extent has at most this many bytes; larger bodies become several.
pub const MAX_EXTENT: u64 = holdall_silos::limits::MAX_EXTENT;
/// Stored bytes that one block checksum covers.
pub const BLOCK: u64 = holdall_silos::limits::BLOCK as u64;
/// User metadata, names and values together (S3: 2 KB).
pub const MAX_METADATA: usize = 2048;
/// Tags of an object (S3).
pub const MAX_OBJECT_TAGS: usize = 10;
/// Tags of a bucket (S3).
pub const MAX_BUCKET_TAGS: usize = 50;
/// Labels of an object, as many as tags,
pub const MAX_LABELS: usize = 10;
/// and characters of a label's name
pub const MAX_LABEL_NAME: usize = 128;
/// and value.
pub const MAX_LABEL_VALUE: usize = 256;
/// Parts of an upload (S3).
pub const MAX_PARTS: u32 = 10_000;
/// Every part but the last has at least this many bytes (S3).
pub const MIN_PART: u64 = 5 << 20;
/// Slices a part may have before its bytes are copied instead.
pub const MAX_SLICES: usize = 16;
/// A body up to this size is held in memory whole, so that the next silo can take it when one fails.
pub const BUFFERED_BODY: u64 = 256 << 10;
/// How often a commit that lost a race is decided again before 503.
pub const COMMIT_TRIES: usize = 256;
/// Rows of one background commit: more would stop the foreground.
pub const BACKGROUND_ROWS: usize = 400;
/// Buckets of one account.
pub const MAX_BUCKETS: usize = 10_000;
/// How often a session publishes its beat.
pub const BEAT: Duration = Duration::from_millis(500);
/// Passes of a sweep that is to happen now, a beat apart: a read that ended is known to have ended after two.
pub const PATIENT_PASSES: u32 = 9;
/// A session whose beat stood still this long, on the observer's clock, is dead.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a retired replica stays beside the rule that nobody reads it.
pub const GRACE: Duration = Duration::from_mins(10);
/// Moves a job has under way at once, unless told otherwise.
pub const MOVES_AT_ONCE: usize = 16;
/// A completed upload answers a repeated Complete for this long.
pub const COMPLETED_KEPT: Duration = Duration::from_hours(24);
/// Commits that wait for the index's writer; one more waits outside.
pub const INDEX_QUEUE: usize = 4096;
/// Commits that share one transaction: the last of them waits for all.
pub const INDEX_BATCH: usize = 512;
/// Of commits that nobody waits for, so many share one where no client waits: the next client waits for all of them.
pub const INDEX_BATCH_BEHIND: usize = 2;
/// Where clients wait, so many transactions are theirs alone before one takes such a commit in: it is as long as two.
pub const INDEX_ALONE: usize = 2;
/// A transaction that wrote this many bytes takes no further commit.
pub const INDEX_BATCH_BYTES: usize = 4 << 20;
/// Memory for the index's pages.
pub const INDEX_CACHE: usize = 192 << 20;
/// The index's disk keeps this much free: below it, writes are refused while reads and deletes go on.
pub const INDEX_RESERVE: u64 = 64 << 20;
/// Failures in a row after which a silo counts as down.
pub const FAILURES_UNTIL_DOWN: u32 = 3;
/// All that a silo of ours holds is read and checked this often, unless told otherwise,
pub const SCRUB_EVERY: Duration = Duration::from_hours(30 * 24);
/// so many bytes a second.
pub const SCRUB_RATE: u64 = 10 << 20;
/// A silo may say for itself how often, but not more often than this.
pub const SCRUB_LEAST: Duration = Duration::from_hours(1);
/// One that did not see all is done again after this.
pub const SCRUB_AGAIN: Duration = Duration::from_hours(24);
/// A step of a scrub ends with so many bytes: one that is broken off goes on behind the last step.
pub const SCRUB_STEP: u64 = 1 << 30;
/// How often it is seen whether that is due.
pub const SCRUB_LOOK: Duration = Duration::from_mins(1);
/// Looks of a scrub under way at once: one waits while the other is checked.
pub const SCRUBS_AT_ONCE: usize = 4;
/// Damaged replicas that readers met and that wait to be looked at.
pub const SCRUB_MET: usize = 10_000;
/// What a reader met damaged and nothing made good is looked at again after this, if it is met again.
pub const MET_AGAIN: Duration = Duration::from_hours(1);
/// Damaged replicas that are written down where nothing made them good,
pub const DAMAGED_KEPT: usize = 100_000;
/// and all of them where it did,
pub const DAMAGED_SHOWN: usize = 10_000;
/// for so long.
pub const MENDED_SHOWN: Duration = Duration::from_hours(90 * 24);
/// How often silos are asked whether they answer and how full they are.
pub const SILO_CHECK: Duration = Duration::from_secs(3);
/// A silo of which nothing is heard for this long while it is asked is waited for no more.
pub const SILENCE: Duration = Duration::from_secs(8);
/// A silo that is looked at by order answers within this,
pub const PROBE_LOOK: Duration = Duration::from_secs(10);
/// and does each other thing within this.
pub const PROBE_STEP: Duration = Duration::from_mins(1);
/// Bytes of the small blobs that it is measured with,
pub const PROBE_SMALL: u64 = 4 << 10;
/// and how many of them there are: the one in the middle counts.
pub const PROBE_TRIES: usize = 5;
/// Bytes of the large one, unless told otherwise,
pub const PROBE_SIZE: u64 = 8 << 20;
/// and at most.
pub const PROBE_AT_MOST: u64 = 256 << 20;
/// Whether the new place of a silo is the old one is looked at so often: mounts may show a new name only after a moment.
pub const SAME_LOOKS: usize = 10;
/// The pause between two of those looks.
pub const SAME_LOOK: Duration = Duration::from_millis(500);
/// Reserve of a silo for which none was declared, percent.
pub const DEFAULT_RESERVE_PERCENT: u8 = 5;
/// Silos of one namespace.
pub const MAX_SILOS: usize = 256;
/// Objectives of one namespace.
pub const MAX_OBJECTIVES: usize = 1000;
/// Reasons that an outlook tells apart.
pub const REASONS_TOLD: usize = 100;
/// Bytes of an objective's condition.
pub const MAX_CONDITION: usize = 4096;
/// The stack that conditions are read on: enough for as many levels as bytes make.
pub const PARSER_STACK: usize = 64 << 20;
/// Levels of a condition.
pub const CONDITION_DEPTH: usize = 64;
/// Names, numbers and operators of a condition.
pub const CONDITION_NODES: usize = 2000;
/// How often a read looks for another replica before it gives up.
pub const READ_TRIES: usize = 6;
/// Retired rows that one sweep holds in memory.
pub const SWEEP_ROWS: usize = 16_384;
/// Retired rows that one sweep passes by, with those that wait for silos which are down.
pub const SWEEP_LOOKED: usize = 4 * SWEEP_ROWS;
/// How often the sweeper looks.
pub const SWEEP: Duration = Duration::from_secs(2);
/// What was given up and landed all the same is looked for so long after it was.
pub const LANDED: Duration = Duration::from_mins(1);
/// Silo deletes a sweep has under way at once.
pub const SWEEPS_AT_ONCE: usize = 16;
/// How often a job writes down how far it came.
pub const JOB_NOTE: Duration = Duration::from_secs(1);
/// Finished jobs that are kept.
pub const JOBS_KEPT: usize = 1000;
/// Access keys of one account: its row names them all.
pub const MAX_ACCESS_KEYS: usize = 100;
/// Rows of a group in the inventory's files: of each group a reader takes the columns it needs.
pub const CENSUS_GROUP_ROWS: usize = 100_000;
/// A group ends earlier where about so much text is in it: it is in memory until then.
pub const CENSUS_GROUP_BYTES: usize = 16 << 20;
/// A file of the inventory ends once it has so many bytes: it is in memory until then, and a silo is asked to take it whole.
pub const CENSUS_FILE: usize = 32 << 20;
/// Runs of the inventory that are kept, the latest included.
pub const CENSUS_KEPT: usize = 2;
/// The first run begins this long after the start.
pub const CENSUS_SOON: Duration = Duration::from_mins(5);
/// After a run there is none for this many times as long as it took.
pub const CENSUS_REST: u32 = 10;
/// Rows that a complete reading of a table takes at once.
pub const LIST_PAGE: usize = 1000;
/// Rows that a check reads at a time.
pub const CHECK_PAGE: usize = 500;
/// Replicas that a check asks silos about at once.
pub const CHECKS_AT_ONCE: usize = 32;
/// Replicas that a deep check reads at once.
pub const CHECK_DEEP_AT_ONCE: usize = 4;
/// Extents up to this size share packs, unless told otherwise.
pub const PACK_UP_TO: u64 = 64 << 10;
/// The largest extent that may be told to share packs: one block.
pub const MAX_PACKED: u64 = BLOCK;
/// A pack takes no further group once it is this long.
pub const PACK_BYTES: u64 = 64 << 20;
/// A pack is appended to for at most this long: whoever waits for all writes of before waits for it, too.
pub const PACK_OPEN: Duration = Duration::from_secs(2);
/// Bytes of one group of records.
pub const GROUP_BYTES: u64 = 8 << 20;
/// Records of one group.
pub const GROUP_RECORDS: usize = 1024;
/// Groups under way at once where each is a pack of its own.
pub const GROUPS_AT_ONCE: usize = 4;
/// Bytes of packs read at once.
pub const SPAN: u64 = 4 << 20;
/// Records with at most this much between them are read together.
pub const SPAN_GAP: u64 = 64 << 10;
/// Small extents moved together,
pub const MOVED_TOGETHER: usize = 512;
/// and their bytes.
pub const MOVED_BYTES: u64 = 2 << 20;
/// Small extents that a job sorts by where they lie before it moves them.
pub const SORTED_TOGETHER: usize = 8192;
/// Bytes a second at which packs are rewritten that are less than half in use.
pub const COMPACTION_RATE: u64 = 32 << 20;
/// After this a pack is looked at again that could not be looked after; it doubles
pub const PACK_PAUSE: Duration = Duration::from_secs(30);
/// so many times.
pub const PACK_PAUSES: u32 = 9;
/// Packs that one pass rewrites.
pub const REWRITES: usize = 16;
/// Copies that an objective may want of an object.
pub const MAX_COPIES: u32 = 8;
/// A write waits this long for all copies that are wanted before its answer.
pub const ACK_PATIENCE: Duration = Duration::from_mins(1);
/// Objects that are brought where they are wanted before their writes are answered; one more is tried again. As many as clients that a
/// gateway has connections for.
pub const ACKS_AT_ONCE: usize = 4096;
/// All objects are compared with objectives this often, unless told otherwise;
pub const ALIGN_EVERY: Duration = Duration::from_hours(1);
/// where something waits or failed, after this; each time after twice as long.
pub const ALIGN_SOON: Duration = Duration::from_secs(10);
/// How often it is looked whether objects or what is declared changed.
pub const ALIGN_BEAT: Duration = Duration::from_secs(1);
/// While all objects are compared, what is elsewhere begins to move for at most this long; then they are compared anew.
pub const ALIGN_MOVES: Duration = Duration::from_mins(10);
/// What was read within this time gets a copy where what is read is copied.
pub const READ_LATELY: Duration = Duration::from_hours(1);
/// Bytes a second that a silo may be used at by what runs in the background, at least: servers end requests whose body stands still.
pub const RATE_LEAST: u64 = 1 << 20;
/// Moves that failed and are told one by one.
pub const FAILURES_KEPT: usize = 1000;
/// Extents that an order leaves alone since objectives forbid them to be where it would bring them; more, and it is refused.
pub const MAX_FORBIDDEN: usize = 1_000_000;
/// Objects that changed and wait to be compared; where there are more, all are.
pub const ALIGN_KEPT: usize = 10_000;
/// How often reads are written down.
pub const HEAT_BEAT: Duration = Duration::from_secs(10);
/// Objects whose reads wait to be written down.
pub const HEAT_KEPT: usize = 1 << 17;
/// Objects whose reads are written down in one commit.
pub const HEAT_TOGETHER: usize = 64;
/// How often the log of the index is written to silos.
pub const BACKUP_BEAT: Duration = Duration::from_secs(2);
/// A run of the log that says nothing but that sessions are alive is written this often.
pub const BACKUP_IDLE: Duration = Duration::from_mins(5);
/// A silo that takes longer for a piece that another one has is not waited for.
pub const BACKUP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a start waits for what silos say of the newest backup.
pub const STALE_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a snapshot is due.
pub const SNAPSHOT_CHECK: Duration = Duration::from_secs(1);
/// A snapshot is due this often, unless told otherwise.
pub const SNAPSHOT_EVERY: Duration = Duration::from_hours(24);
/// A snapshot that is due early, since copies of pieces are missing, waits this long after the last one,
pub const SNAPSHOT_SPACING: Duration = Duration::from_secs(10);
/// and so many times as long as that one took.
pub const SNAPSHOT_SPACINGS: u32 = 20;
/// Backups reach back this far, unless told otherwise.
pub const BACKUPS_KEPT: Duration = Duration::from_hours(7 * 24);
/// Silos that have a copy of each piece of a backup, where there are as many.
pub const BACKUP_COPIES: usize = 2;
/// Bytes of rows in one piece of a backup; one entry of the log may be longer.
pub const PIECE: usize = 4 << 20;
/// The piece that says what a snapshot is is no longer than this: it names a hundred thousand others, of a whole piece each.
pub const MAX_MANIFEST: u64 = PIECE as u64 / 2;
/// No piece is longer than this.
pub const MAX_PIECE: u64 = 64 << 20;
/// Bytes a second at which snapshots are taken.
pub const SNAPSHOT_RATE: u64 = 64 << 20;
/// The log that no silo takes is let go after this; a snapshot follows.
pub const LOG_KEPT: Duration = Duration::from_hours(1);
/// A gateway that stops waits this long for silos to take the end of the log.
pub const LAST_SHIPMENT: Duration = Duration::from_secs(10);
/// Entries in one run of the log.
pub const RUN_ENTRIES: u64 = 1 << 16;
/// Entries of the log that one transaction takes out, of those before it. Each may be long, and clients wait.
pub const FORGOTTEN_AT_ONCE: u64 = 16;
/// Numbers of entries that are left out where another index wrote the last pieces: what silos that do not answer now have
/// of its pieces is never taken for ours.
pub const LOG_LEAP: u64 = 1 << 32;
/// Sessions that a restored index leaves out at least, and at most twice that: there are 2^40.
pub const SESSION_LEAP: u64 = 1 << 20;
/// A root is passed this long after its last pass ended, unless told otherwise.
pub const RESCAN: Duration = Duration::from_mins(10);
/// Roots of one namespace.
pub const MAX_ROOTS: usize = 256;
/// Roots, or parts of them, that are passed at once.
pub const PASSES_AT_ONCE: usize = 4;
/// Names of one step of a pass.
pub const ASSIMILATED_AT_ONCE: usize = 1000;
/// Commits of one step under way at once.
pub const TAKES_AT_ONCE: usize = 4;
/// Names that a dry run looks at.
pub const SURVEYED: u64 = 100_000;
/// How often a pass notes how far it came.
pub const PASS_NOTE: Duration = Duration::from_secs(1);
/// A pass that broke off begins again after this.
pub const PASS_REST: Duration = Duration::from_secs(10);
/// Prefixes that were passed before the first pass came there.
pub const SEEN_KEPT: usize = 64;
/// Folders that one root leaves out.
pub const WITHOUT_AT_MOST: usize = 100;
/// Names that could not be looked at, as many as are noted.
pub const UNREAD_KEPT: usize = 100;
/// Names that a pass may take away without asking: of a small root so many,
pub const GONE_AT_LEAST: u64 = 10;
/// and never more.
pub const GONE_AT_MOST: usize = 1000;
/// Objects whose headers could not be asked for, as many as a pass logs by name.
pub const UNFILLED_TOLD: u64 = 20;
/// Names that are looked for in one silo at once,
pub const LOOKS_AT_ONCE: usize = 16;
/// and how long a request waits for its turn: past the time after which a silo counts as silent.
pub const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// A name that was not in a silo is believed not to be there for this long,
pub const ABSENT: Duration = Duration::from_secs(5);
/// of so many names at most.
pub const ABSENT_KEPT: usize = 10_000;
/// A list waits this long for what it shows to be passed,
pub const LIST_PATIENCE: Duration = Duration::from_secs(20);
/// looks this often,
pub const LIST_LOOK: Duration = Duration::from_millis(50);
/// and asks for it this often.
pub const LIST_ASK: Duration = Duration::from_secs(1);
/// What is told of a name is waited for this long: more is often told at once.
pub const DIRTY_JOINED: Duration = Duration::from_millis(300);
/// How often it is looked which names are due.
pub const DIRTY_BEAT: Duration = Duration::from_millis(100);
/// Names of one root that were told and wait to be looked at; where there are more of them, the root is passed.
pub const DIRTY_NAMES: usize = 20_000;
/// Such names of all roots together; where there are more of them, the root with most of them is passed.
pub const DIRTY_IN_ALL: usize = 10 * DIRTY_NAMES;
/// Folders of one root that were told and wait, likewise.
pub const DIRTY_FOLDERS: usize = 64;
/// A name that was not there is looked at again after this before that counts.
pub const GONE_AGAIN: Duration = Duration::from_millis(500);
/// A name that was looked at is left alone for this long, and twice as long each time it is told again by then,
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// and never longer than this.
pub const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// Names of one root that are looked at in one go,
pub const TOUCHED_TOGETHER: usize = 500;
/// and at once.
pub const TOUCHED_AT_ONCE: usize = 16;
/// A pass that is early, by what was told, begins this long after the last one at least.
pub const PASS_SPACING: Duration = Duration::from_secs(10);
/// A watch that ended, or could not be begun, is tried again after this.
pub const WATCH_REST: Duration = Duration::from_mins(1);
/// Bytes a second at which checksums are made of what lies in place, unless told otherwise,
pub const HASH_RATE: u64 = 32 << 20;
/// and at least.
pub const HASH_RATE_LEAST: u64 = 1 << 20;
/// How often it is looked whether something has none, beside after passes that found something.
pub const HASH_LOOK: Duration = Duration::from_mins(10);
/// Where something was left out, the next look comes after this; each time after twice as long.
pub const HASH_SOON: Duration = Duration::from_millis(500);
/// The longest time between two passes, seconds.
pub const RESCAN_AT_MOST: u64 = 366 * 24 * 3600;
/// Attempts to bring trees in step with their keys that a gateway makes at once.
pub const PROJECTIONS_AT_ONCE: usize = 8;
/// How often it is looked whether a tree lacks something,
pub const PROJECTION_BEAT: Duration = Duration::from_secs(1);
/// when what could not be done is tried again, each time after twice as long,
pub const PROJECTION_REST: Duration = Duration::from_secs(5);
/// and never later than this.
pub const PROJECTION_REST_AT_MOST: Duration = Duration::from_mins(5);
/// Names that wait to be brought in step; where there are more, a root's rows are compared again.
pub const PROJECTIONS_KEPT: usize = 100_000;
/// Files up to this size are read before they are replaced and after, since their times alone may hide a change.
pub const PROJECTION_READ: u64 = 256 << 20;
/// Keys of a root that its tree cannot hold, and that are remembered with the reason.
pub const STUCK_KEPT: usize = 1000;
/// How often it is looked after what came out of trees.
pub const SETTLE_OUT: Duration = Duration::from_secs(5);
/// In every so-manieth of these looks, it is also looked whether what others wrote still has the name it was kept under.
pub const SETTLE_THOROUGHLY: u64 = 6;
/// Names that are tried for what others wrote at the same time as S3.
pub const NAMES_BESIDE: usize = 16;
/// The highest price of a unit of bytes, or of a thousand requests, in whatever currency: amounts stay exact below it.
pub const MAX_RATE: u64 = 1000;
/// The most days that a silo may ask to be paid for.
pub const MAX_MINIMUM_DAYS: u16 = 3650;
/// Bytes of a file's name, its folders left out.
pub const MAX_SEGMENT: usize = holdall_silos::limits::MAX_SEGMENT;
