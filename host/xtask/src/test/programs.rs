//! What the tests need of the machine.

use anyhow::Result;

use crate::programs::{Program, install as install_programs};

/// What hooks are compiled with is not among them: `cargo xtask hooks` sees to that itself.
const NEEDED: [Program; 19] = [
    Program { name: "cc", package: "gcc" },
    Program { name: "git", package: "git" },
    Program { name: "curl", package: "curl" },
    // Archives that JeCloud makes are read by the real one, and the other way round.
    Program { name: "bzip2", package: "bzip2" },
    // Injects faults into system calls.
    Program { name: "strace", package: "strace" },
    Program { name: "ss", package: "iproute2" },
    // Servers that are reached by SSH.
    Program { name: "sshd", package: "openssh-server" },
    Program { name: "sudo", package: "sudo" },
    // Servers that boot systemd.
    Program { name: "systemd-nspawn", package: "systemd-container" },
    Program { name: "debootstrap", package: "debootstrap" },
    Program { name: "nft", package: "nftables" },
    // The apps under examples/.
    Program { name: "node", package: "nodejs" },
    Program { name: "npm", package: "npm" },
    // The package manager of others, with a package and a repository that a test makes for it.
    Program { name: "dnf", package: "dnf" },
    Program { name: "rpmbuild", package: "rpm" },
    Program { name: "createrepo_c", package: "createrepo-c" },
    Program { name: "gpg", package: "gnupg" },
    // The services of the hooks.
    Program { name: "redis-server", package: "redis-server" },
    // What stands for EC2 and S3 is written in it.
    Program { name: "python3", package: "python3-venv" },
];

/// Installs what is missing; returns what is missing still.
///
/// # Errors
///
/// As [`crate::programs::install`].
pub(crate) fn install() -> Result<Option<String>> {
    install_programs(&NEEDED)
}
