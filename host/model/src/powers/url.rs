//! URL prefixes, compared by scheme, host and path segment, never as plain texts.

/// The parts of a URL that matter here.
struct Parts<'a> {
    scheme: String,
    /// Host and port, in lower case.
    authority: String,
    /// From the first `/` on; `/` where there is none. Without the query.
    path: &'a str,
}

/// Why a text is not a URL that the host fetches.
pub(super) fn fault(url: &str) -> Option<&'static str> {
    parts(url).err()
}

/// Whether a URL is fetched without encryption.
pub(super) fn is_plain(url: &str) -> bool {
    parts(url).is_ok_and(|parts| parts.scheme == "http")
}

/// Whether `url` lies below `prefix`. Neither covers anything where it is not a URL.
pub(super) fn covers(prefix: &str, url: &str) -> bool {
    let (Ok(prefix), Ok(url)) = (parts(prefix), parts(url)) else { return false };
    prefix.scheme == url.scheme && prefix.authority == url.authority && is_below(prefix.path, url.path)
}

/// Whether a path is another or lies below it, segment by segment: `/a` holds `/a/b`, not `/ab`.
pub(super) fn is_below(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parts(url: &str) -> Result<Parts<'_>, &'static str> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has spaces, control or non-ASCII characters");
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("it does not begin with https://");
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return Err("it does not begin with https://");
    }
    // A backslash is a slash to some clients, and what follows an @ is the host to all of them.
    if rest.contains(['\\', '#']) {
        return Err("it has a backslash or a fragment");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(is_host) {
        return Err("its host is missing or has characters that a host cannot have");
    }
    let path = path.split('?').next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    // Servers and clients disagree on who takes these out; a prefix means nothing if somebody does.
    if ["%2e", "%2f", "%5c"].iter().any(|encoded| lower.contains(encoded))
        || path.split('/').any(|segment| segment == "." || segment == "..")
    {
        return Err("its path has . or .. segments, or encoded dots or slashes");
    }
    Ok(Parts { scheme, authority: authority.to_ascii_lowercase(), path: if path.is_empty() { "/" } else { path } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with `url.starts_with(prefix)` in place of the comparison by parts.
    #[test]
    fn a_prefix_ends_at_boundaries() {
        for (prefix, url, expected) in [
            ("https://a.example", "https://a.example/x", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "HTTPS://A.Example/x?y=z", true),
            ("https://a.example", "https://a.example.evil", false),
            ("https://a.example", "https://a.example.evil/", false),
            ("https://a.example", "https://a.example@evil/", false),
            ("https://a.example", "https://a.example:8443/", false),
            ("https://a.example", "http://a.example/", false),
            ("https://a.example", "ftp://a.example/", false),
            ("https://a.example", "https:///a.example", false),
            ("https://a.example", "//a.example", false),
            ("https://a.example/dist", "https://a.example/dist", true),
            ("https://a.example/dist", "https://a.example/dist/v1", true),
            ("https://a.example/dist/", "https://a.example/dist/v1", true),
            ("https://a.example/dist", "https://a.example/distx", false),
            ("https://a.example/dist", "https://a.example/", false),
            ("https://a.example/dist", "https://a.example/dist/../x", false),
            ("https://a.example/dist", "https://a.example/dist/%2e%2E/x", false),
            ("https://a.example/dist", "https://a.example/dist/..%2fx", false),
            ("https://a.example/dist", "https://a.example/dist\\..\\x", false),
            ("https://a.example/dist", "https://a.example/dist/x#y", false),
            ("https://a.example/dist", "https://a.example/dist/x y", false),
            ("https://a.example/dist", "https://a.example?/dist/", false),
            ("https://a.example/", "https://a.exämple/", false),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/x", true),
            ("http://[::1]:8000/", "http://[::1]:8000/x", true),
            ("", "https://a.example/", false),
            ("https://", "https://a.example/", false),
        ] {
            assert_eq!(covers(prefix, url), expected, "{prefix} covers {url}");
        }
    }
}
