//! A client of Holdall: it starts a gateway like any user would and then speaks only HTTP and the command line.
//!
//! Every byte that is read is checked against what must be there: contents are computed from (bucket, key,
//! generation), so no run needs to keep what it wrote.

pub mod card;
pub mod clock;
pub mod random;
pub mod rclone;
pub mod say;

pub mod payload;
pub mod sign;
pub mod wire;

pub mod client;
pub mod oracle;

pub mod process;

pub mod gateway;

pub mod command;

pub mod flight;
pub mod settle;
pub mod workload;

pub mod harm;
pub mod load;
pub mod meter;
pub mod pace;
pub mod rig;
pub mod tamper;

/// What goes wrong in a rig ends the rig: one line for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Short for what every step of a rig returns.
pub type Outcome<T> = Result<T, Failure>;
