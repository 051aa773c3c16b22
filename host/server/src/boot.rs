//! Coming back after a reboot, and once a minute: a systemd timer, or cron where there is no systemd.
//!
//! Only for a server at one of its proper places: a home that somebody tries things in is nobody's business at boot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_disk::{durable, tree};
use jecloud_launch::{Launch, RunLimits};
use jecloud_model::layout::ServerRoot;

use crate::error::ServerError;
use crate::server;

/// A file that brings JeCloud back.
#[derive(Debug, PartialEq, Eq)]
struct BootFile {
    path: PathBuf,
    text: String,
}

/// Installs what brings JeCloud back, where this is root's own server; on one that runs systemd, the front among it. Done again it changes nothing.
///
/// # Errors
///
/// Among others where systemd does not take the units.
pub(crate) fn install(root: &ServerRoot, exe: &Path) -> Result<(), ServerError> {
    if !jecloud_systemd::is_proper(root) || !jecloud_launch::is_root() {
        return Ok(());
    }
    if jecloud_systemd::is_in_charge(root) {
        let listen = server::document(root)?.listen;
        let front = jecloud_systemd::Front::new(root.clone(), exe.to_owned());
        front.install(listen.as_deref()).map_err(crate::process_manager::failed)?;
        let mut changed = false;
        for file in units(root, exe) {
            changed |= write(&file)?;
        }
        // Whoever wrote them may have died before this.
        let enabled = Path::new(jecloud_systemd::UNITS).join("timers.target.wants/jecloud-rollforward.timer");
        if changed || !tree::exists(&enabled)? {
            systemctl(&["daemon-reload"])?;
            systemctl(&["enable", "--now", "jecloud-rollforward.timer"])?;
        }
    } else if tree::is_dir(Path::new("/etc/cron.d"))? {
        write(&cron(root, exe))?;
    }
    Ok(())
}

/// Whether the file had to be written.
fn write(file: &BootFile) -> Result<bool, ServerError> {
    if durable::read_text(&file.path)?.as_deref() == Some(file.text.as_str()) {
        return Ok(false);
    }
    durable::replace(&file.path, file.text.as_bytes(), 0o644)?;
    Ok(true)
}

fn systemctl(arguments: &[&str]) -> Result<(), ServerError> {
    let limits = RunLimits { timeout: Duration::from_secs(60), keep_bytes: 4096 };
    let launch = Launch::new("systemctl").args(arguments).cwd("/");
    let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {})?;
    if finished.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
    Err(ServerError::Request(format!("systemctl {} {}: {said}", arguments.join(" "), finished.status)))
}

/// A service that rolls forward, and the timer that starts it at boot and every minute. What it starts lives on.
fn units(root: &ServerRoot, exe: &Path) -> [BootFile; 2] {
    let directory = Path::new(jecloud_systemd::UNITS);
    let service = format!(
        "[Unit]\nDescription=JeCloud: finish what was begun, and have everything run that should\n\n\
         [Service]\nType=oneshot\nKillMode=process\n\
         ExecStart={} update-server rollforward --root {} --quiet\n",
        quoted(exe),
        quoted(root.path())
    );
    let timer = "[Unit]\nDescription=JeCloud: at boot and every minute\n\n\
                 [Timer]\nOnBootSec=0\nOnUnitActiveSec=60\nAccuracySec=1\n\n\
                 [Install]\nWantedBy=timers.target\n"
        .to_owned();
    [
        BootFile { path: directory.join("jecloud-rollforward.service"), text: service },
        BootFile { path: directory.join("jecloud-rollforward.timer"), text: timer },
    ]
}

/// The same for cron. A `%` would end the command there: man 5 crontab.
fn cron(root: &ServerRoot, exe: &Path) -> BootFile {
    let command = format!("{} update-server rollforward --root {} --quiet", quoted(exe), quoted(root.path()));
    let command = command.replace('%', "\\%");
    let text = format!(
        "# JeCloud: finish what was begun, and have everything run that should.\n\
         @reboot root {command} >/dev/null 2>&1\n* * * * * root {command} >/dev/null 2>&1\n"
    );
    BootFile { path: PathBuf::from("/etc/cron.d/jecloud"), text }
}

/// Double quotes are understood by systemd and by the shell of cron.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_name_the_binary_and_the_place() {
        let (root, exe) = (ServerRoot::new("/var/lib/jecloud/server"), Path::new("/usr/local/bin/jecloud"));
        let command = "/usr/local/bin/jecloud update-server rollforward --root /var/lib/jecloud/server --quiet";
        assert!(units(&root, exe)[0].text.contains(&format!("ExecStart={command}\n")));
        let cron = cron(&root, exe).text;
        assert!(cron.contains(&format!("@reboot root {command} ")) && cron.ends_with('\n'), "{cron}");
    }

    #[test]
    fn a_path_with_a_space_stays_one_word() {
        assert_eq!(quoted(Path::new("/opt/my tools/jecloud")), "\"/opt/my tools/jecloud\"");
    }

    /// Fails without the list of proper places: every test that makes a server as root would leave a job behind.
    #[test]
    fn a_home_to_try_things_in_is_left_alone() {
        let before = durable::read_text(Path::new("/etc/cron.d/jecloud")).expect("readable");
        install(&ServerRoot::new("/tmp/somewhere/server"), Path::new("/bin/true")).expect("nothing to do");
        assert_eq!(durable::read_text(Path::new("/etc/cron.d/jecloud")).expect("readable"), before);
    }
}
