//! `jecloud version`

use jecloud_model::version::Version;

use crate::output::{print, print_json};

pub(crate) fn run(json: bool) {
    let version = Version::own();
    if json {
        print_json(&serde_json::json!({
            "version": version,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "contract": "jecloud:hook@0.1.0",
        }));
    } else {
        print(&format!("jecloud {version}"));
    }
}
