//! The program `key-authority`.

use std::process::ExitCode;

/// A response often allocates on one thread and frees on another; jemalloc is made for that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    key_authority_server::main()
}
