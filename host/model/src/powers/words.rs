//! Powers for people, and powers that nobody can have.

use super::packages::is_package_name;
use super::{Power, files, url};
use crate::hook::Powers;
use crate::secrets;
use crate::template::{Piece, Placeholder, Template};

impl Powers {
    /// What these powers let a hook do: one line each, as a person reads them before approving. Empty where there are
    /// none.
    pub fn in_words(&self) -> Vec<String> {
        self.each().map(|power| power.to_string()).collect()
    }
}

/// Looks at powers that a hook declares, before a person is asked about them. Gives what is wrong, one sentence each;
/// a hook with any is not added.
pub fn check_powers(powers: &Powers) -> Vec<String> {
    let mut faults = Vec::new();
    if powers.each().count() > 500 {
        faults.push("more than 500 powers are declared".to_owned());
    }
    for power in powers.each().take(500) {
        let fault = match &power {
            Power::Package(name) => (!is_package_name(name)).then_some("it is not a name of a package"),
            Power::Repository(url) if url::is_plain(url) => Some("it does not begin with https://"),
            Power::Repository(url) => url::fault(url),
            Power::Program(program, _) => program_fault(program),
            Power::Port(port) => (*port == 0).then_some("there is no such port"),
            Power::Path(path) if path.contains('{') => Some("it has a placeholder"),
            Power::Path(path) => files::path_fault(path),
            Power::Secret(name) => (!secrets::is_name(name)).then_some("it is not a name of a secret"),
        };
        if let Some(fault) = fault {
            faults.push(format!("the power to {power:?} cannot be granted: {fault}", power = power.to_string()));
        }
    }
    faults
}

/// A name, an absolute path, or a path below an archive package, `{data}` or `{source}`.
fn program_fault(program: &str) -> Option<&'static str> {
    let Ok(template) = Template::parse(program) else { return Some("it is not a template") };
    let clean = !program.is_empty() && program.bytes().all(|byte| byte.is_ascii_graphic());
    if !clean || files::segments(program).is_none() {
        return Some("it is empty, or has spaces, control characters or .. segments");
    }
    match template.pieces() {
        [Piece::Text(text)] if !text.contains('/') || text.starts_with('/') => None,
        [Piece::Text(_)] => Some("a path must be absolute or begin with a placeholder"),
        [Piece::Gap(Placeholder::Package(_) | Placeholder::Source | Placeholder::Data), Piece::Text(rest)]
            if rest.starts_with('/') =>
        {
            None
        }
        _ => Some("it is neither a name, nor an absolute path, nor a path below {package:NAME}, {source} or {data}"),
    }
}
