//! Speaks S3 to clients, holds the door, and leaves every decision to the namespace.

pub mod limits;

pub mod address;
pub mod config;
pub mod error;
pub mod operation;
pub mod xml;

pub mod auth;
pub mod s3;

pub mod admin;
pub mod cli;

pub mod access_log;
mod calendar;
pub mod metrics;
mod observe;

pub mod folder;
pub mod gateway;
pub mod serve;
pub mod state;
pub mod tls;
