//! What a deployment leaves on the server, without what is different every time.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// The files of an environment as far as they belong to the release that serves: by path, with release numbers,
/// versions, ports and times taken out. Left out, for these reasons: `events.jsonl` and logs (they tell of the
/// disturbance itself), lock files (they hold a number for people), earlier releases and versions (they are those of
/// earlier deployments), and the service's data directory but for its kept build results (it belongs to the app).
pub(crate) fn serving(place: &Path) -> BTreeMap<String, String> {
    let document: Value = read_json(&place.join("app.json"));
    let version = document["current_version"].as_str().expect("something serves").to_owned();
    let release = document["current_release"].to_string();
    let mut files = BTreeMap::new();
    collect(place, place, &mut |path, file| {
        let parts: Vec<&str> = path.split('/').collect();
        let keep = match parts.as_slice() {
            ["releases", number, name] => *number == release && *name != "events.jsonl",
            ["source", "versions", id, ..] => id.starts_with(&version) || *id == "current" || is_left_over(id),
            ["logs", ..] | ["app.lock"] | ["rollforward.pid"] => false,
            ["services", _, "kept", ..] => true,
            ["services", ..] => false,
            _ => true,
        };
        if keep {
            let path = path.replace(&version, "VERSION").replace(&format!("releases/{release}/"), "releases/N/");
            files.insert(path, content(file, &version, &release));
        }
    });
    files
}

/// What crashed writers leave behind until it is swept.
fn is_left_over(name: &str) -> bool {
    name.starts_with('.')
}

fn collect(root: &Path, directory: &Path, found: &mut dyn FnMut(&str, &Path)) {
    let entries = std::fs::read_dir(directory).expect("a directory that can be read");
    for entry in entries {
        let path = entry.expect("an entry").path();
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            collect(root, &path, found);
        } else {
            let relative = path.strip_prefix(root).expect("below the root").display().to_string();
            found(&relative, &path);
        }
    }
}

fn content(file: &Path, version: &str, release: &str) -> String {
    if let Ok(target) = std::fs::read_link(file) {
        return format!("-> {}", target.display()).replace(version, "VERSION");
    }
    let bytes = std::fs::read(file).unwrap_or_default();
    if file.extension().is_some_and(|extension| extension == "json")
        && let Ok(mut value) = serde_json::from_slice::<Value>(&bytes)
    {
        normalise(&mut value, release);
        return serde_json::to_string_pretty(&value).expect("JSON").replace(version, "VERSION");
    }
    // Archives of different versions differ; that the version is whole is checked by its unpacked files.
    if file.extension().is_some_and(|extension| extension == "bz2") {
        return "an archive".to_owned();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.find("'version ") {
        Some(start) => {
            let digits = text[start + 9..].chars().take_while(char::is_ascii_digit).count();
            format!("{}K{}", &text[..start + 9], &text[start + 9 + digits..])
        }
        None => text,
    }
}

/// Takes out what no two deployments share.
fn normalise(value: &mut Value, release: &str) {
    match value {
        Value::Object(map) => {
            let renamed: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
            for (key, mut inner) in renamed {
                match key.as_str() {
                    "http" | "PORT" | "release" | "current_release" | "newest_release" => inner = Value::from("N"),
                    "created" | "address" | "took_ms" => inner = Value::from("T"),
                    // Of earlier deployments, and of this one if it was begun again under a new number.
                    "aborted_deployment_versions" | "recent_failed_deployments" => continue,
                    _ => normalise(&mut inner, release),
                }
                map.insert(key.replace(&format!("@{release}"), "@N"), inner);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| normalise(inner, release)),
        Value::String(text) => *text = text.replace(&format!("@{release}"), "@N"),
        _ => {}
    }
}

pub(crate) fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
