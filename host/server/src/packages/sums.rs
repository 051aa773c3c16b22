//! Lists of SHA-256 sums, in the format of `sha256sum`.

use jecloud_model::ids::Digest;

use super::Requirement;

/// The sum of one file.
pub(super) fn find(list: &str, file: &str) -> Option<Digest> {
    entries(list).find(|(_, name)| *name == file).and_then(|(sum, _)| sum.parse().ok())
}

/// The versions for which the list has a file whose name is `pattern` with the version in the place of `{version}`.
pub(super) fn versions<'a>(list: &'a str, pattern: &str) -> Vec<&'a str> {
    let Some((before, after)) = pattern.split_once("{version}") else { return Vec::new() };
    entries(list).filter_map(|(_, name)| name.strip_prefix(before)?.strip_suffix(after)).collect()
}

/// The highest version in the list that a requirement accepts.
pub(super) fn resolve<'a>(list: &'a str, pattern: &str, requirement: &Requirement) -> Option<&'a str> {
    requirement.highest(versions(list, pattern))
}

/// Sum and file name of each line; the `*` of binary mode and a leading `./` are not part of the name.
fn entries(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines().filter_map(|line| {
        let (sum, name) = line.trim_end().split_once(char::is_whitespace)?;
        let name = name.trim_start().trim_start_matches('*');
        Some((sum, name.strip_prefix("./").unwrap_or(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_sums() {
        let sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let list = format!(
            "{sum}  tool-v22.9.0-x.tar.gz\n{sum} *tool-v22.11.0-x.tar.gz\n{sum}  ./tool-v22.11.0-y.tar.gz\nbad\n"
        );
        let pattern = "tool-v{version}-x.tar.gz";
        assert_eq!(versions(&list, pattern), ["22.9.0", "22.11.0"]);
        assert_eq!(resolve(&list, pattern, &Requirement::new("22")), Some("22.11.0"));
        assert_eq!(resolve(&list, pattern, &Requirement::new("23")), None);
        assert_eq!(find(&list, "tool-v22.11.0-x.tar.gz").as_ref().map(Digest::as_str), Some(sum));
        assert_eq!(find(&list, "tool-v22.11.0-z.tar.gz"), None);
        assert_eq!(find("zz  a", "a"), None);
    }
}
