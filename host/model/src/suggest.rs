//! "Did you mean …?": the nearest of the names that would have been right.

/// Longer names are not compared: no name that people choose is, and comparing takes the product of the lengths.
const LONGEST: usize = 64;

/// The candidate that a person who wrote `name` most likely meant; none where no candidate is near.
///
/// Near is: the same but for upper and lower case or `_` for `-`; up to a third of the letters added, left out,
/// exchanged or swapped (at least one); or the first three or more letters of it (`prod` for `production`). The
/// first of the nearest candidates wins.
///
/// ```
/// use jecloud_model::suggest::nearest;
/// assert_eq!(nearest("cuont", ["count", "health"]), Some("count"));
/// assert_eq!(nearest("color", ["count", "health"]), None);
/// ```
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = plain(name)?;
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&plain, &self::plain(candidate)?)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// As `nearest`, as the end of a sentence: ``; did you mean `count`?``, or nothing.
pub fn did_you_mean<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

fn plain(name: &str) -> Option<String> {
    (name.chars().count() <= LONGEST).then(|| name.to_lowercase().replace('_', "-"))
}

fn distance(name: &str, candidate: &str) -> Option<usize> {
    let longest = name.chars().count().max(candidate.chars().count());
    let distance = strsim::damerau_levenshtein(name, candidate);
    let allowed = (longest / 3).max(1);
    let is_near = distance <= allowed && distance < longest;
    let is_abbreviation = name.chars().count() >= 3 && candidate.starts_with(name);
    (is_near || is_abbreviation).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_offered() {
        let keys = ["count", "health", "on"];
        for (name, expected) in [
            ("cuont", Some("count")),
            ("Count", Some("count")),
            ("counts", Some("count")),
            ("heath", Some("health")),
            ("no", Some("on")),
            ("hea", Some("health")),
            ("he", None),
            ("x", None),
            ("", None),
            ("color", None),
            ("heelps", None),
            ("replicas", None),
        ] {
            assert_eq!(nearest(name, keys), expected, "{name:?}");
        }
        assert_eq!(nearest("prod", ["staging", "production"]), Some("production"));
        assert_eq!(nearest("log_level", ["log-level"]), Some("log-level"));
    }

    #[test]
    fn of_equally_near_names_the_first_is_offered() {
        assert_eq!(nearest("web3", ["web1", "web2"]), Some("web1"));
    }

    #[test]
    fn a_huge_name_is_not_compared() {
        let huge = "a".repeat(10_000_000);
        assert_eq!(nearest(&huge, [huge.as_str()]), None);
    }

    #[test]
    fn ends_a_sentence() {
        assert_eq!(did_you_mean("cuont", ["count"]), "; did you mean `count`?");
        assert_eq!(did_you_mean("cuont", ["health"]), "");
    }
}
