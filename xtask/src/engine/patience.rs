//! An engine that is slow but not gone: whoever waits for it is told so, and goes on waiting.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// After so long, and each time that it passes again, it is told that the engine is slow.
const SLOW: Duration = Duration::from_secs(60);

/// Waits for an engine's answer, however long it takes, and tells of it.
pub async fn patiently<T>(answer: impl Future<Output = T>, tell: &(dyn Fn(String) + Sync)) -> T {
    let mut answer = pin!(answer);
    let mut waited = Duration::ZERO;
    loop {
        if let Ok(answer) = tokio::time::timeout(SLOW, answer.as_mut()).await {
            return answer;
        }
        waited += SLOW;
        tell(format!("the engine is slow: no answer for {} s, still waiting for one", waited.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_waited_for_and_a_quick_one_is_no_news() {
        for (seconds, expect) in [(1, &[][..]), (59, &[]), (150, &["for 60 s", "for 120 s"])] {
            let said = Mutex::new(Vec::new());
            let tell = |text: String| said.lock().expect("unpoisoned").push(text);
            let answer = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                seconds
            };
            assert_eq!(patiently(answer, &tell).await, seconds);
            let said = said.into_inner().expect("unpoisoned");
            assert_eq!(said.len(), expect.len(), "{said:?}");
            assert!(said.iter().zip(expect).all(|(text, part)| text.contains(part)), "{said:?}");
        }
    }
}
