//! When an attempt that has failed is made again, and how long that waits.

use crate::failure::Failure;
use crate::models::http::text;
use std::time::{Duration, SystemTime};
use ureq::Body;
use ureq::http::{Response, header};

/// How often in a row an attempt may bring nothing new.
const RETRIES: u32 = 5;
/// The pause after the first of them; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a server can have.
const LONGEST: Duration = Duration::from_secs(60);

/// Why an attempt has ended.
pub(crate) enum End {
    /// A further one may bring more. The server may have said after how long.
    Passing {
        failure: Failure,
        after: Option<Duration>,
    },
    /// Nobody answered. That passes, if somebody did before.
    Unreachable(Failure),
    Lasting(Failure),
}

impl End {
    /// The failure of an attempt that is not made again.
    pub(crate) fn failure(self) -> Failure {
        match self {
            End::Passing { failure, .. } | End::Unreachable(failure) | End::Lasting(failure) => {
                failure
            }
        }
    }
}

/// The attempts in a row that brought nothing new.
#[derive(Default)]
pub(crate) struct Retries(u32);

impl Retries {
    /// How long to wait after an attempt that has ended; nothing if it was the last. `after` is what the
    /// server asks for.
    pub(crate) fn pause(&mut self, brought: bool, after: Option<Duration>) -> Option<Duration> {
        self.0 = if brought { 0 } else { self.0 + 1 };
        if self.0 > RETRIES {
            return None;
        }
        match (after, self.0) {
            (Some(after), _) => (after <= LONGEST).then_some(after),
            (None, 0) => Some(Duration::ZERO),
            (None, failed) => Some(PAUSE * 2_u32.pow(failed - 1)),
        }
    }
}

/// How long a server asks to wait, by a number of seconds or a date.
pub(crate) fn after(response: &Response<Body>) -> Option<Duration> {
    until(text(response, header::RETRY_AFTER)?, SystemTime::now())
}

fn until(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A time for people.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        1 => "1 second".to_string(),
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut retries = Retries::default();
        assert_eq!(retries.pause(true, None), seconds(0));
        for expected in [1, 2, 4, 8, 16] {
            assert_eq!(retries.pause(false, None), seconds(expected));
        }
        assert_eq!(retries.pause(false, None), None);
        // What brings something begins anew.
        assert_eq!(retries.pause(true, None), seconds(0));
        assert_eq!(retries.pause(false, None), seconds(1));
    }

    #[test]
    fn servers_have_their_pauses() {
        let mut retries = Retries::default();
        assert_eq!(retries.pause(true, seconds(7)), seconds(7));
        assert_eq!(retries.pause(false, seconds(60)), seconds(60));
        assert_eq!(retries.pause(false, seconds(61)), None);
        let mut retries = Retries::default();
        for _ in 0..RETRIES {
            assert_eq!(retries.pause(false, seconds(0)), seconds(0));
        }
        assert_eq!(retries.pause(false, seconds(0)), None);
    }

    #[test]
    fn seconds_and_dates() {
        let now = httpdate::parse_http_date("Tue, 03 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(until("120", now), seconds(120));
        assert_eq!(until("Tue, 03 Nov 2026 10:00:30 GMT", now), seconds(30));
        assert_eq!(until("Tue, 03 Nov 2026 09:00:00 GMT", now), seconds(0));
        for bad in ["", "-1", "soon", "1.5"] {
            assert_eq!(until(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        for (time, told) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (3601, "61 minutes"),
        ] {
            assert_eq!(span(Duration::from_secs(time)), told);
        }
    }
}
