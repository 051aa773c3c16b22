//! On what it was measured.

#![expect(clippy::disallowed_methods, reason = "reads what the kernel says about the machine")]

use std::path::Path;
use std::process::Command;

use crate::programs::Program;

/// Machine, system, and versions of everything that takes part, a line each.
pub(super) fn of_this_machine(root: &Path, peers: &[Program]) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
    };
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal", ':').and_then(|text| text.split(' ').next()?.parse().ok());
    let mut lines = vec![
        format!(
            "machine   {cores} × {}, {} GiB",
            or_unknown(value(&read("/proc/cpuinfo"), "model name", ':')),
            memory.map_or(0, |kib: u64| kib >> 20)
        ),
        format!(
            "system    {}, Linux {}",
            or_unknown(value(&read("/etc/os-release"), "PRETTY_NAME", '=')),
            read("/proc/sys/kernel/osrelease").trim()
        ),
        format!(
            "load      {} when it began; it should be near 0",
            read("/proc/loadavg").split(' ').next().unwrap_or("?")
        ),
        format!("compiler  {}", first_line("rustc", &["--version"])),
        format!(
            "commit    {}{}",
            first_line("git", &["-C", &root.display().to_string(), "rev-parse", "--short", "HEAD"]),
            match first_line("git", &["-C", &root.display().to_string(), "status", "--porcelain"]).as_str() {
                "" => "",
                _ => ", with changes",
            }
        ),
    ];
    for peer in peers {
        let version = match peer.name {
            "nginx" | "wrk" => first_line(peer.name, &["-v"]),
            "ssh" | "sshd" | "ip" => first_line(peer.name, &["-V"]),
            "caddy" => first_line(peer.name, &["version"]),
            name => first_line(name, &["--version"]),
        };
        lines.push(format!("{:<9} {version}", peer.name));
    }
    lines.join("\n") + "\n"
}

/// What a program says first, wherever it says it.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&all).lines().next().unwrap_or_default().to_owned()
}
