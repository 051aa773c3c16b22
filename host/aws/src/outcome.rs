//! What came of a call that did not do what it was for: whether it may have been done, and why not.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// The longest text of somebody else that is shown, in characters.
const LONGEST_TEXT: usize = 300;

const NOT_IN_TIME: &str = "there was no answer in time";

/// Clocks that differ by less agree as well as can be expected.
const AGREEMENT: Duration = Duration::from_secs(60);

/// What came of a call that failed.
#[derive(Debug)]
pub enum Outcome<'a, E> {
    /// Nobody said anything to it.
    Unanswered(Unanswered),
    /// It was answered by a no.
    Answered(&'a HttpResponse, &'a E),
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// It was not sent: credentials are nowhere to be found.
    NoCredentials,
    /// It was not sent: credentials are configured, but what should yield them does not.
    CredentialsUnavailable {
        /// What the provider said.
        detail: String,
        /// Whether a later attempt may be sent.
        is_transient: bool,
    },
    /// It was not sent: it could not be made.
    NotMade(String),
    /// It may have been done: in words, what happened instead of an answer.
    Lost(String),
}

/// Sorts what a client says went wrong.
pub fn outcome<E: Error + Send + Sync + 'static>(error: &SdkError<E, HttpResponse>) -> Outcome<'_, E> {
    if let Some(unsent) = of_credentials(error) {
        return Outcome::Unanswered(unsent);
    }
    Outcome::Unanswered(match error {
        SdkError::ServiceError(context) => return Outcome::Answered(context.raw(), context.err()),
        SdkError::ConstructionFailure(_) => Unanswered::NotMade(chain(error)),
        SdkError::TimeoutError(_) => Unanswered::Lost(NOT_IN_TIME.to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Unanswered::Lost(NOT_IN_TIME.to_owned()),
        // The client's own words say no more than that it failed.
        _ => Unanswered::Lost(error.source().map_or_else(|| chain(error), chain)),
    })
}

/// Whether there were no credentials to send it with.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<Unanswered> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return Some(match error {
                CredentialsError::CredentialsNotLoaded(_) => Unanswered::NoCredentials,
                // Asking the machine for its role is the last thing that is tried: nothing else was configured.
                other if other.source().is_some_and(|source| source.is::<ImdsError>()) => Unanswered::NoCredentials,
                other => Unanswered::CredentialsUnavailable {
                    detail: other.source().map_or_else(|| chain(other), chain),
                    is_transient: matches!(other, CredentialsError::ProviderTimedOut(_)),
                },
            });
        }
        next = error.source();
    }
    None
}

/// An error with its causes, as [`shown`].
pub fn chain(error: &(dyn Error + 'static)) -> String {
    shown(&jecloud_model::chain(error))
}

/// A text of somebody else: one line, and not too long.
pub fn shown(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST_TEXT) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// By how much our clock and a server's differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew {
    /// Whether it is later here than there.
    pub ahead: bool,
    /// By how much; zero where it is not known.
    pub difference: Duration,
}

impl Skew {
    /// What the date of an answer shows; none where both agree as well as can be expected, or it has none.
    pub fn of(response: &HttpResponse) -> Option<Self> {
        let date = DateTime::from_str(response.headers().get("date")?, Format::HttpDate).ok()?;
        Self::between(SystemTime::now(), SystemTime::try_from(date).ok()?)
    }

    fn between(here: SystemTime, there: SystemTime) -> Option<Self> {
        let (ahead, difference) = match here.duration_since(there) {
            Ok(difference) => (true, difference),
            Err(error) => (false, error.duration()),
        };
        (difference > AGREEMENT).then_some(Self { ahead, difference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_one_short_line() {
        assert_eq!(shown("a\n  b"), "a b");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), LONGEST_TEXT + 1);
    }

    #[test]
    fn small_differences_of_clocks_are_none() {
        let now = SystemTime::now();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let skew = |ahead, difference| Some(Skew { ahead, difference });
        assert_eq!(Skew::between(now, now + Duration::from_secs(59)), None);
        assert_eq!(Skew::between(now, now + minutes(10)), skew(false, minutes(10)));
        assert_eq!(Skew::between(now, now - minutes(10)), skew(true, minutes(10)));
    }
}
