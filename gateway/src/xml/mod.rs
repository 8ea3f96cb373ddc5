//! S3's XML: bounded parsing of what clients send, writing of what they get.

pub mod read;
pub mod write;
