//! From which state of which cloud a server is told something: nothing moves backwards (DESIGN, invariant 5).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::state::CloudState;
use crate::format::{FORMAT, Format};
use crate::ids::{AppName, Generation, OperationId};

/// The state on which somebody bases what a server is told: which cloud's, and how often that was written. Shown as
/// `CLOUD:GENERATION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// See [`CloudState::cloud_id`].
    pub cloud: OperationId,
    /// See [`CloudState::generation`].
    pub generation: Generation,
}

impl Basis {
    /// That of plans which are made from this state.
    pub fn of(state: &CloudState) -> Self {
        Self { cloud: state.cloud_id.clone(), generation: state.generation }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cloud, self.generation)
    }
}

/// A text that is no basis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a basis is CLOUD:GENERATION")]
pub struct NotABasis;

impl FromStr for Basis {
    type Err = NotABasis;

    fn from_str(text: &str) -> Result<Self, NotABasis> {
        let (cloud, generation) = text.split_once(':').ok_or(NotABasis)?;
        let generation = generation.parse().map(Generation).map_err(|_| NotABasis)?;
        Ok(Self { cloud: cloud.parse().map_err(|_| NotABasis)?, generation })
    }
}

/// `sys/clouds.json`: from which clouds a server was told something, and the newest state of each. Apps of several clouds
/// can be on one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownClouds {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// By app. What is here is not forgotten with the app: then an old plan could bring it back.
    #[serde(default)]
    pub apps: BTreeMap<AppName, Basis>,
    /// Keys that a newer JeCloud wrote.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// Why a server does not do what it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BasisRefused {
    /// Nothing moves backwards.
    #[error("it was told from generation {asked} of the cloud state of {app}, and knows generation {newest} already")]
    Older {
        /// Whose cloud.
        app: AppName,
        /// On what it was based.
        asked: Generation,
        /// What the server knows.
        newest: Generation,
    },
    /// Two clouds that believe to have the same app on a server would undo each other's work for ever.
    #[error("it belongs to another cloud of {app}: to {}, not to {asked}", known.cloud)]
    OtherCloud {
        /// Whose cloud.
        app: AppName,
        /// The cloud that was told of.
        asked: OperationId,
        /// The one that the server knows.
        known: Basis,
    },
}

impl KnownClouds {
    /// Takes note of what somebody who tells the server to do something for an app bases that on. `is_empty` says that
    /// nothing of the app is on the server: then it may come from another cloud than the last time.
    ///
    /// # Errors
    ///
    /// Where that is older than what is known, or of another cloud; nothing is noted then.
    pub fn accept(&mut self, app: &AppName, basis: &Basis, is_empty: bool) -> Result<(), BasisRefused> {
        match self.apps.get(app) {
            Some(known) if known.cloud == basis.cloud && basis.generation < known.generation => {
                let (asked, newest) = (basis.generation, known.generation);
                return Err(BasisRefused::Older { app: app.clone(), asked, newest });
            }
            Some(known) if known.cloud != basis.cloud && !is_empty => {
                let (asked, known) = (basis.cloud.clone(), known.clone());
                return Err(BasisRefused::OtherCloud { app: app.clone(), asked, known });
            }
            _ => {}
        }
        if self.apps.get(app) != Some(basis) {
            self.format.format = FORMAT;
            self.apps.insert(app.clone(), basis.clone());
        }
        Ok(())
    }
}

impl BasisRefused {
    /// What the person can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Older { app, newest, .. } => format!(
                "Nothing was changed. Somebody has gone on from a newer state: type it again. Where the state of {app} \
                 itself was set back, `jecloud state edit` lets you give it a generation of {newest} or more."
            ),
            Self::OtherCloud { app, known, .. } => format!(
                "Nothing was changed. Where another person has a cloud of this name, call one of the two apps something \
                 else. Where the state of the cloud that this server knows is lost for good, take its place: \
                 `jecloud state edit`, with \"cloud_id\": \"{}\", a generation of {} or more, and a \"next_release\" above \
                 those that `jecloud status` shows. Or remove what is there: `jecloud update-server destroy {app} \
                 ENVIRONMENT` on the server.",
                known.cloud, known.generation
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(cloud: u8, generation: u64) -> Basis {
        Basis { cloud: OperationId::from_random([cloud; 16]), generation: Generation(generation) }
    }

    fn app() -> AppName {
        "shop".parse().expect("a name")
    }

    #[test]
    fn nothing_moves_backwards() {
        let mut known = KnownClouds::default();
        for generation in [3, 3, 7] {
            known.accept(&app(), &basis(1, generation), false).expect("equal or newer");
        }
        let before = known.clone();
        let (asked, newest) = (Generation(6), Generation(7));
        for is_empty in [false, true] {
            let refused = known.accept(&app(), &basis(1, 6), is_empty);
            assert_eq!(refused, Err(BasisRefused::Older { app: app(), asked, newest }));
            assert_eq!(known, before, "nothing is noted");
        }
        // Another app of another cloud has numbers of its own.
        known.accept(&"blog".parse().expect("a name"), &basis(2, 1), false).expect("another app");
        known.accept(&app(), &basis(1, 8), false).expect("newer");
    }

    #[test]
    fn another_cloud_is_refused_while_anything_is_there() {
        let mut known = KnownClouds::default();
        known.accept(&app(), &basis(1, 7), true).expect("the first");
        let before = known.clone();
        let refused = known.accept(&app(), &basis(2, 100), false).expect_err("another cloud");
        assert!(matches!(&refused, BasisRefused::OtherCloud { .. }) && refused.hint().contains(&"01".repeat(16)));
        assert_eq!(known, before);
        known.accept(&app(), &basis(2, 1), true).expect("nothing is there");
        assert_eq!(known.apps[&app()], basis(2, 1));
    }

    #[test]
    fn it_is_said_in_one_word() {
        let one = basis(0xab, 12);
        assert_eq!(one.to_string(), format!("{}:12", "ab".repeat(16)));
        assert_eq!(one.to_string().parse(), Ok(one));
        for text in ["", "12", &"ab".repeat(16), "x:1", &format!("{}:-1", "ab".repeat(16))] {
            assert_eq!(text.parse::<Basis>(), Err(NotABasis), "{text:?}");
        }
    }

    #[test]
    fn keys_of_a_newer_writer_stay() {
        let text = r#"{"format":2,"min_writer":1,"apps":{},"x":1}"#;
        let mut known: KnownClouds = serde_json::from_str(text).expect("a document");
        known.accept(&app(), &basis(1, 1), true).expect("the first");
        assert_eq!(serde_json::to_value(&known).expect("JSON")["x"], 1);
    }
}
