//! Silos around silos: what is said of every kind is said once, here.

pub mod fault;
pub mod lost;
pub mod read_only;
pub mod silence;
