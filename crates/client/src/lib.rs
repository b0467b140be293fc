//! For services that must ask Key Authority, very often: may the holder of this token do this?
//!
//! [`Verifier`] asks. It keeps a stream of questions open to each replica that it was told of, leaves out those that are not
//! healthy, asks again what a lost connection left unanswered, and says [`Verdict::Allowed`] or [`Verdict::Denied`]. That it could
//! not find out is an [`Error`], never a denial.
//!
//! [`RequireKey`] guards a service of HTTP or gRPC with a verifier, as a layer of `tower`.
//!
//! ```no_run
//! use key_authority_client::{Question, Verdict, Verifier};
//!
//! # async fn ask(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder()
//!     .endpoint("http://127.0.0.1:50051")
//!     .endpoint("http://127.0.0.1:50052")
//!     .token_file("checkout.token")
//!     .connect()
//!     .await?;
//! match verifier.verify(&Question::new(token).account("acme").scopes(["deploy"])).await? {
//!     Verdict::Allowed(key) => println!("{} of {} may deploy", key.key_id, key.account),
//!     Verdict::Denied(denial) => println!("no: {}", denial.reason),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # No verdict is kept
//!
//! A change of the authority is over when its call returns: whoever asks afterwards is answered by the new state. A verdict that
//! is kept, for however short a time, would break that, and there is little to gain: an answer takes the way to the authority and
//! back, and some microseconds there. What is asked a second time, since no answer to the first came, is answered later still.

mod backoff;
mod builder;
mod credential;
mod endpoint;
mod error;
mod links;
mod question;
mod require_key;
mod session;
mod verdict;
mod verifier;

pub use builder::Builder;
pub use error::{Error, SetupError};
pub use question::Question;
pub use require_key::{Guarded, RequireKey};
pub use verdict::{Denial, KeyIdentity, Reason, Verdict};
pub use verifier::Verifier;
