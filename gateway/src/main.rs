//! The `holdall` binary: everything is in the library, so that tests start the same gateway.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdall::cli::main()
}
