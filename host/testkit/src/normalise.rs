//! Text that is the same in every run, for snapshots.

/// The beginning of the directory of every world.
const WORLD: &str = "/tmp/jc-";

/// Replaces what differs between two runs or two machines: times and durations, sizes, hashes (12 hexadecimal digits
/// and more), versions of three numbers, ports, numbers of three digits and more (process ids) but for those after
/// `status`, and the directory of the world. Columns are separated by one space, since their width depends on those;
/// indentation stays, and so do lines that begin with `|`, which quote. Spaces at the ends of lines do not stay.
pub fn normalise(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| columns(&replace(line))).collect();
    lines.join("\n").trim_end().to_owned()
}

/// One space where there are several, but for the indentation.
fn columns(line: &str) -> String {
    let indentation = line.len() - line.trim_start().len();
    if line.trim_start().starts_with('|') {
        return line.trim_end().to_owned();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{}{}", if words.is_empty() { "" } else { &line[..indentation] }, words.join(" "))
}

fn replace(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let begins_word = out.chars().last().is_none_or(|last| !last.is_alphanumeric() && last != '.');
        let found = if begins_word { known(rest, &out) } else { None };
        match found {
            Some((length, word)) => {
                // `1 min 20 s` is one duration.
                if word != DURATION || !out.ends_with(&format!("{DURATION} ")) {
                    out.push_str(word);
                } else {
                    out.pop();
                }
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

const DURATION: &str = "[time]";

/// What begins here and differs between runs: its length and the word for it.
fn known(text: &str, before: &str) -> Option<(usize, &'static str)> {
    if let Some(rest) = text.strip_prefix(WORLD) {
        return Some((WORLD.len() + run(rest, |c| c.is_ascii_alphanumeric()), "[world]"));
    }
    if let Some(length) = date(text) {
        return Some((length, "[date]"));
    }
    let word = run(text, |c| c.is_ascii_alphanumeric());
    let is_hash = word >= 12 && text[..word].chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    if is_hash {
        return Some((word, "[hash]"));
    }
    let number = run(text, |c| c.is_ascii_digit() || c == '.');
    // A full stop at the end is that of a sentence.
    let number = text[..number].trim_end_matches('.').len();
    if number == 0 {
        return None;
    }
    let (digits, after) = text.split_at(number);
    if before.ends_with(':') && number >= 4 && !after.starts_with(char::is_alphanumeric) {
        return Some((number, "[port]"));
    }
    if digits.matches('.').count() <= 1
        && let Some(unit) = after.strip_prefix(' ')
    {
        let unit = run(unit, |c| c.is_ascii_alphabetic());
        if ["s", "ms", "min", "h", "d"].contains(&&after[1..=unit]) {
            return Some((number + 1 + unit, DURATION));
        }
        if ["byte", "bytes", "kB", "MB"].contains(&&after[1..=unit]) {
            return Some((number + 1 + unit, "[size]"));
        }
    }
    if digits.matches('.').count() == 2 && !after.starts_with(char::is_alphanumeric) {
        return Some((number, "[version]"));
    }
    (number >= 3
        && !before.ends_with("status ")
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !after.starts_with(char::is_alphanumeric))
    .then_some((number, "[n]"))
}

/// `2026-11-24T07:45:44.123Z`
fn date(text: &str) -> Option<usize> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let begin = text.as_bytes().get(..SHAPE.len())?;
    if !begin.iter().zip(SHAPE).all(|(c, shape)| if *shape == b'0' { c.is_ascii_digit() } else { c == shape }) {
        return None;
    }
    let fraction = run(&text[SHAPE.len()..], |c| c.is_ascii_digit() || c == '.');
    let end = SHAPE.len() + fraction;
    text[end..].starts_with('Z').then_some(end + 1)
}

/// How many bytes of the beginning fit.
fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_runs_is_replaced() {
        let check = |text: &str, expected: &str| assert_eq!(normalise(text), expected);
        check("Finished in 25.23 s: r1 (a7c54ba36216) serves.", "Finished in [time]: r1 ([hash]) serves.");
        check("http://hello-node.localhost:8081", "http://hello-node.localhost:[port]");
        check("  ✓ packages: node 20.20.2     3.14 s", "  ✓ packages: node [version] [time]");
        check("web.1  node  running  32197  30418  0  1 min 20 s", "web.1 node running [n] [n] 0 [time]");
        check("r1  2026-11-24T08:44:51.081Z  root", "r1 [date] root");
        check(
            "| at Object.<anonymous> (/tmp/jc-aB3x/home/web.js:3:7)",
            "| at Object.<anonymous> ([world]/home/web.js:3:7)",
        );
        check("process 471 exited with status 127.", "process [n] exited with status 127.");
        check("packed 2 files, 814 bytes into 1.0 kB: version", "packed 2 files, [size] into [size]: version");
    }

    #[test]
    fn what_is_the_same_in_every_run_stays() {
        for text in [
            "answers GET /up with status 500",
            "r12 web.1 127.0.0.1",
            "10 lines, 60 seconds",
            "jecloud.toml:3:11: a decade",
            "  - a",
            "  |   |   ^^",
        ] {
            assert_eq!(normalise(text), text);
        }
        assert_eq!(normalise("a \n\n b\n\n"), "a\n\n b");
    }
}
