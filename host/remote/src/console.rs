//! What a server writes to its console when it boots for the first time.

/// What cloud-init writes before and after the fingerprints of the host keys.
const BEGIN: &str = "-----BEGIN SSH HOST KEY FINGERPRINTS-----";
const END: &str = "-----END SSH HOST KEY FINGERPRINTS-----";

/// The fingerprints of the host keys that cloud-init wrote to a console, `SHA256:…`; none where they are not there (yet).
///
/// Only what stands between its marks counts: whoever can have a server log a line of theirs must not thereby name a key.
/// Of several such parts the last one does: a server that was set up anew says so again.
pub fn fingerprints_on_console(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut part: Option<Vec<String>> = None;
    for line in text.lines().map(str::trim_end) {
        if line.ends_with(BEGIN) {
            part = Some(Vec::new());
        } else if line.ends_with(END) {
            found = part.take().unwrap_or(found);
        } else if let Some(part) = &mut part {
            part.extend(fingerprint(line));
        }
    }
    found
}

/// Of `<14>Jan  1 00:00:00 cloud-init: 256 SHA256:… root@host (ED25519)`, as `ssh-keygen -l` writes it.
fn fingerprint(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("SHA256:"));
    let found = words.next()?;
    let is_key = line.ends_with(')') && words.count() >= 1;
    is_key.then(|| found.to_owned())
}
