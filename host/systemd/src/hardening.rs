//! What a process may not do: man 5 systemd.exec. Each line is kept where `systemd-analyze security` looks.

/// For everybody. Just-in-time compilers write code into memory, so that stays allowed.
const EVERYBODY: &str = "\
NoNewPrivileges=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
UMask=0022
";

/// For whoever is not root: what no program without rights needs.
const WITHOUT_RIGHTS: &str = "\
AmbientCapabilities=
CapabilityBoundingSet=
PrivateDevices=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictSUIDSGID=yes
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
";

/// For a process of root's, which a person has granted the power: the system's own files and the boot are not its
/// business all the same.
const ROOT: &str = "\
ProtectSystem=full
";

/// The lines for a process that has no rights, or for one of root's.
pub(crate) fn lines(is_root: bool) -> String {
    format!("{EVERYBODY}{}", if is_root { ROOT } else { WITHOUT_RIGHTS })
}
