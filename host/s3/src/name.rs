//! The name of the bucket of an app.

use jecloud_model::ids::{AppName, Digest};

/// `jecloud-APP-XXXXXXXX`: names are shared by all of AWS, so eight hex digits tell accounts and regions apart.
///
/// `account` is the number of the AWS account; none for a store that has no accounts.
pub fn bucket_name(app: &AppName, account: Option<&str>, region: &str) -> String {
    let digest = Digest::of(format!("{}/{region}", account.unwrap_or_default()).as_bytes());
    format!("jecloud-{app}-{}", &digest.as_str()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_app_account_and_region_and_never_change() {
        let app: AppName = "guestbook".parse().unwrap();
        let name = bucket_name(&app, Some("123456789012"), "eu-west-1");
        // Another name would be another, empty, bucket: this one must stay. From `printf 123456789012/eu-west-1 |
        // sha256sum`.
        assert_eq!(name, "jecloud-guestbook-8365695b");
        assert_ne!(name, bucket_name(&app, Some("123456789012"), "eu-west-2"));
        assert_ne!(name, bucket_name(&app, Some("123456789013"), "eu-west-1"));
        assert_ne!(name, bucket_name(&app, None, "eu-west-1"));
        let longest: AppName = format!("a{}", "b".repeat(30)).parse().unwrap();
        assert!(bucket_name(&longest, None, "x").len() <= 63, "the limit of S3");
    }
}
