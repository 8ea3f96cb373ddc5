//! A silo in memory, for tests.
