//! The program `key-authority`.

use std::process::ExitCode;

/// A response takes some pieces of memory from one thread and often gives them back on another; this is made for that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    key_authority_server::main()
}
