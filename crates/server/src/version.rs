//! Which build this is.

/// The version of this build. A build that answers without a lease, for the fault harness alone, says so.
pub(crate) const VERSION: &str = if cfg!(feature = "ignore-lease") {
    concat!(env!("CARGO_PKG_VERSION"), "+ignore-lease")
} else {
    env!("CARGO_PKG_VERSION")
};
