//! How a repeated request gets the result of the change that it made before.

use key_authority_domain::audit::LoggedEvent;
use key_authority_storage::read_tx::ReadTx;

use crate::auth::permit::TxPermit;
use crate::rpc::errors::RpcError;

/// The result of a change that can be given again to a repeated request.
pub(super) trait Replay: Sized {
    /// The result of the change that `logged` records, as far as the caller may still know it.
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
