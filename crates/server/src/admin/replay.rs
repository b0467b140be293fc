//! Replay: the result of an earlier change for a repeated request.

use key_authority_domain::audit::LoggedEvent;
use key_authority_storage::read_tx::ReadTx;

use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;

/// A result that a repeated request can get again.
pub(super) trait Replay: Sized {
    /// Returns the result of the change that `logged` records, as far as the caller may still see it.
    fn replay(
        tx: &ReadTx,
        permit: &TxPermit,
        logged: &LoggedEvent,
    ) -> impl Future<Output = Result<Self, RpcError>> + Send;
}

impl Replay for () {
    async fn replay(_: &ReadTx, _: &TxPermit, _: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(())
    }
}
