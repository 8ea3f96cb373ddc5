//! Seeded bugs: each takes one line out of the protocol, and each must be found.
