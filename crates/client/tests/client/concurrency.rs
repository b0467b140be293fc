//! Very many questions at once.

use std::sync::Arc;

use key_authority_client::{Question, Verdict};
use tokio::task::JoinSet;

use crate::authority::Authority;

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_crowd_of_questions_is_answered_and_who_stops_waiting_holds_up_nobody() {
        let authority = Authority::start().await;
        let token = authority.operator().create_key("ci", &[]).await;
        let verifier = authority.builder().connect().await.unwrap();
        let question = Arc::new(Question::new(token));

        // Many more than are ever open at once; every other one is taken back while it waits.
        let (mut crowd, mut taken_back) = (JoinSet::new(), JoinSet::new());
        for number in 0..20_000 {
            let (verifier, question) = (verifier.clone(), Arc::clone(&question));
            let tasks = if number % 2 == 0 { &mut crowd } else { &mut taken_back };
            tasks.spawn(async move { verifier.verify(&question).await });
        }
        taken_back.abort_all();

        // Somebody who looks once and never again.
        let mut idle = Box::pin(verifier.verify(&question));
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(idle.as_mut().poll(context))).await.is_pending());
        assert!(matches!(verifier.verify(&question).await, Ok(Verdict::Allowed(_))), "asked amid the crowd");

        let answers = crowd.join_all().await;
        assert_eq!(answers.len(), 10_000);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Verdict::Allowed(_)))));
        assert!(matches!(idle.await, Ok(Verdict::Allowed(_))), "asked before, looked at last");
    }
}
