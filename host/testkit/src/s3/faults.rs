//! What goes wrong.

use std::collections::BTreeSet;

/// What goes wrong, in per cent of all requests or for some. Nothing, at first. Requests are named as in the
/// documentation of S3: `PutObject`.
#[derive(Debug, Clone, Default)]
pub struct S3Faults {
    /// What chance begins with: the same number gives the same faults for the same requests.
    pub seed: u64,
    /// So many are done, and their answer is lost.
    pub lost_replies_percent: u64,
    /// These are done once each, and their answer is lost.
    pub lost_replies: Vec<String>,
    /// So many are answered 409 where they have a precondition, and 503 else. They are not done.
    pub refused_percent: u64,
    /// So many are not done, and the connection is reset.
    pub resets_percent: u64,
    /// Everything after so many more requests is reset: the caller has been killed, or cut off.
    pub dies_after: Option<u64>,
    /// Whether the last request before that is answered.
    pub dies_before_the_answer: bool,
    /// These are never answered.
    pub silent: BTreeSet<String>,
    /// Preconditions are ignored.
    pub no_conditional_writes: bool,
    /// Policies deny whatever their conditions say.
    pub policies_ignore_conditions: bool,
    /// It has no accounts: STS is not known.
    pub no_accounts: bool,
    /// Bodies of downloads end after so many bytes.
    pub downloads_end_after: Option<u64>,
    /// One byte of every download is another.
    pub downloads_are_damaged: bool,
    /// What is answered instead: to the first of these requests, once.
    pub answers: Vec<Answer>,
    /// What is always answered instead.
    pub always: Vec<Answer>,
    /// How many faults by chance there were.
    pub happened: u64,
}

/// An answer that was thought of before the question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// To which request.
    pub to: String,
    /// The HTTP status.
    pub status: u16,
    /// `AccessDenied`.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// More headers.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// To a request, with a status, a code and a sentence.
    pub fn new(to: &str, status: u16, code: &str, message: &str) -> Self {
        let (to, code, message) = (to.to_owned(), code.to_owned(), message.to_owned());
        Self { to, status, code, message, headers: Vec::new() }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As AWS answers members of the account who lack a permission: `s3:PutObject`.
    pub fn denied(to: &str, action: &str) -> Self {
        let message = format!(
            "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: {action} on resource: \
             \"arn:aws:s3:::bucket\" because no identity-based policy allows the {action} action"
        );
        Self::new(to, 403, "AccessDenied", &message)
    }
}

/// What happens to one request.
#[derive(Debug)]
pub(super) enum Fate {
    Done,
    DoneAndLost,
    Reset,
    Silence,
    Answer(Answer),
}

impl S3Faults {
    pub(super) fn fate(&mut self, name: &str, is_conditional: bool) -> Fate {
        if let Some(left) = self.dies_after.as_mut() {
            match left.checked_sub(1) {
                None => return Fate::Reset,
                Some(less) => *left = less,
            }
            if self.dies_before_the_answer && *left == 0 {
                return Fate::DoneAndLost;
            }
        }
        if self.silent.contains(name) {
            return Fate::Silence;
        }
        if let Some(at) = self.answers.iter().position(|answer| answer.to == name) {
            return Fate::Answer(self.answers.remove(at));
        }
        if let Some(answer) = self.always.iter().find(|answer| answer.to == name) {
            return Fate::Answer(answer.clone());
        }
        if let Some(at) = self.lost_replies.iter().position(|lost| lost == name) {
            self.lost_replies.remove(at);
            return Fate::DoneAndLost;
        }
        if self.chance(self.lost_replies_percent) {
            return Fate::DoneAndLost;
        }
        if self.chance(self.resets_percent) {
            return Fate::Reset;
        }
        if self.chance(self.refused_percent) {
            let conflict = ("ConditionalRequestConflict", "Somebody else writes this object.");
            let slow = ("SlowDown", "Please reduce your request rate.");
            let (status, (code, sentence)) = if is_conditional { (409, conflict) } else { (503, slow) };
            return Fate::Answer(Answer::new(name, status, code, sentence));
        }
        Fate::Done
    }

    fn chance(&mut self, percent: u64) -> bool {
        if percent == 0 {
            return false;
        }
        let hit = next_random(&mut self.seed) % 100 < percent;
        self.happened += u64::from(hit);
        hit
    }
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
