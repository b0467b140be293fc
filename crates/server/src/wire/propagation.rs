//! The conversion of propagation results to protobuf.

use key_authority_proto::v1;
use key_authority_replica::protocol::wait::{Propagation, PropagationState};

use super::{revision, time};

/// Converts the result of waiting for a change.
#[must_use]
pub(crate) fn propagation_to_proto(propagation: &Propagation) -> v1::Propagation {
    let state = match propagation.state {
        PropagationState::Confirmed => v1::PropagationState::Confirmed,
        PropagationState::Lapsed => v1::PropagationState::Lapsed,
    };
    v1::Propagation {
        revision: revision::number(propagation.revision),
        state: state as i32,
        replicas: propagation.replicas,
        waited: Some(time::duration_to_proto(propagation.waited)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use key_authority_domain::id::Revision;

    use super::*;

    #[test]
    fn the_wait_is_reported_in_microseconds() {
        let waited = Duration::new(1, 1_999);
        let confirmed = Propagation { revision: Revision(7), state: PropagationState::Confirmed, replicas: 3, waited };
        let shown = propagation_to_proto(&confirmed);
        assert_eq!((shown.revision, shown.state(), shown.replicas), (7, v1::PropagationState::Confirmed, 3));
        assert_eq!(shown.waited, Some(prost_types::Duration { seconds: 1, nanos: 1_000 }));
        let lapsed = Propagation { state: PropagationState::Lapsed, ..confirmed };
        assert_eq!(propagation_to_proto(&lapsed).state(), v1::PropagationState::Lapsed);
    }
}
