//! Whether a wave of assignments is going out: more messages in a moment than all sessions together are to get.
//!
//! A lone change is sent at once. In a wave that would give each of a thousand nodes a message for its first task and
//! another for the rest; those that the wave reaches after its first messages wait for the rest at once.

use std::time::Duration;

use super::timing::ASSIGNMENT_MESSAGES_PER_SECOND;

/// Over how long messages are counted.
const COUNTED_OVER: Duration = Duration::from_millis(50);
/// Messages in that time from which on it is a wave.
const WAVE: u32 = ASSIGNMENT_MESSAGES_PER_SECOND / (1_000 / COUNTED_OVER.as_millis() as u32);

/// Counts messages. Times are on one time line, and do not go back.
#[derive(Debug, Default)]
pub(super) struct Wave {
    since: Duration,
    count: u32,
}

impl Wave {
    /// A message goes out.
    pub fn sent(&mut self, now: Duration) {
        self.go_on(now);
        self.count = self.count.saturating_add(1);
    }

    /// Whether there were so many messages just now that the next one should wait for more to say.
    pub fn is_high(&mut self, now: Duration) -> bool {
        self.go_on(now);
        self.count >= WAVE
    }

    fn go_on(&mut self, now: Duration) {
        if now.saturating_sub(self.since) >= COUNTED_OVER {
            *self = Wave { since: now, count: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_high_from_its_first_hundreds_on_until_the_moment_is_over() {
        let ms = Duration::from_millis;
        let mut wave = Wave::default();
        assert_eq!(WAVE, 200);
        for _ in 0..WAVE {
            assert!(!wave.is_high(ms(110)));
            wave.sent(ms(110));
        }
        assert!(wave.is_high(ms(110)));
        assert!(wave.is_high(ms(159)));
        assert!(!wave.is_high(ms(160)));
        wave.sent(ms(170));
        assert!(!wave.is_high(ms(171)), "one message is no wave");
    }
}
