//! The version of this build.

/// The version of this build. A build that answers without a lease, for the fault harness only, has a suffix.
pub(crate) const VERSION: &str = if cfg!(feature = "ignore-lease") {
    concat!(env!("CARGO_PKG_VERSION"), "+ignore-lease")
} else {
    env!("CARGO_PKG_VERSION")
};
