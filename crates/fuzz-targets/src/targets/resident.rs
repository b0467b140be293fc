//! A server's memory, with a few keys, that the targets of Verify share.

use std::sync::OnceLock;

use key_authority_bench::resident::Resident;
use key_authority_server::testing::Authentication;
use tokio::runtime::Runtime;

/// The keys, the caller, and the runtime that keeps the lease.
pub(super) struct Authority {
    pub(super) resident: Resident,
    pub(super) caller: Authentication,
    _runtime: Runtime,
}

/// Returns the one authority of this process. `None` if it cannot be made.
pub(super) fn authority() -> Option<&'static Authority> {
    static AUTHORITY: OnceLock<Option<Authority>> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let resident = runtime.block_on(Resident::load(8)).ok()?;
        let caller = resident.credential().ok()?;
        Some(Authority { resident, caller, _runtime: runtime })
    });
    authority.as_ref()
}

/// Returns the token of a key.
pub(super) fn token(number: u64) -> String {
    let key_set = key_authority_bench::key_set::KeySet::new(8);
    key_set.token(number).map(|token| token.reveal().to_owned()).unwrap_or_default()
}
