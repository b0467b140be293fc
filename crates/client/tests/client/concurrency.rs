//! Many questions at once.

use std::sync::Arc;

use key_authority_client::{Question, Verdict};
use tokio::task::JoinSet;

use crate::authority::Authority;

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn cancelled_and_idle_questions_do_not_delay_the_others() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let question = Arc::new(Question::new(token));

        // Many more than one stream carries at once. Every other question is cancelled while it waits.
        let (mut kept, mut cancelled) = (JoinSet::new(), JoinSet::new());
        for number in 0..20_000 {
            let (verifier, question) = (verifier.clone(), Arc::clone(&question));
            let tasks = if number % 2 == 0 { &mut kept } else { &mut cancelled };
            tasks.spawn(async move { verifier.verify(&question).await });
        }
        cancelled.abort_all();

        // A future that is polled once, and then not until the end.
        let mut idle = Box::pin(verifier.verify(&question));
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(idle.as_mut().poll(context))).await.is_pending());
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))), "asked while many are in flight");

        let verdicts = kept.join_all().await;
        assert_eq!(verdicts.len(), 10_000);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Ok(Verdict::Allowed(_)))));
        assert!(matches!(idle.await, Ok(Verdict::Allowed(_))), "asked first, polled last");
    }
}
