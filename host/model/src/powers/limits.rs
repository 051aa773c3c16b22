//! How much a hook may ask for at all, whatever was granted.

/// Bounds on what a hook returns. The numbers are generous for real services and small for a server: a plan that
/// reaches one of them is a mistake or an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanLimits {
    /// Packages of one service: 100. A distribution's Rails needs about ten by name.
    pub packages: usize,
    /// Files of one plan: 200.
    pub files: usize,
    /// Bytes of one file's content before it is filled in: 1 MiB, as for inputs.
    pub file_bytes: usize,
    /// Commands in each of checks, build and release, and in one answer of `deployed`: 100.
    pub commands: usize,
    /// Words of one argv: 1000.
    pub arguments: usize,
    /// Bytes of one word of an argv, of one environment value, of one path: 32 KiB. Linux takes at most 128 KiB.
    pub text_bytes: usize,
    /// Variables of one command or process, and values of one plan: 500.
    pub variables: usize,
    /// Processes of one plan: 100.
    pub processes: usize,
    /// Instances of one process type that a hook may ask for: 100. A person may say more.
    pub replicas: u32,
    /// Shards of one process type: 64.
    pub shards: u32,
    /// Ports of one process: 16.
    pub ports: usize,
    /// Routes of one plan: 100.
    pub routes: usize,
    /// Notes of one plan: 50.
    pub notes: usize,
    /// Characters of a title or note: 500.
    pub line_chars: usize,
    /// All remembered names and values together, in bytes: 64 KiB (`wit/types.wit`).
    pub remember_bytes: usize,
    /// How long a command may run, in milliseconds: an hour (`wit/types.wit`).
    pub command_ms: u32,
    /// How long a process may take to start or to stop, in milliseconds: ten minutes (`wit/types.wit`).
    pub process_ms: u32,
    /// How long a hook may wait before it is asked again, in milliseconds: a minute (`wit/types.wit`).
    pub wait_ms: u32,
    /// URL prefixes that the person wrote into the service's settings: archives may come from them without a power,
    /// and over plain HTTP. See [`PlanLimits::with_mirror`].
    pub mirrors: Vec<String>,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self {
            packages: 100,
            files: 200,
            file_bytes: 1024 * 1024,
            commands: 100,
            arguments: 1000,
            text_bytes: 32 * 1024,
            variables: 500,
            processes: 100,
            replicas: 100,
            shards: 64,
            ports: 16,
            routes: 100,
            notes: 50,
            line_chars: 500,
            remember_bytes: 64 * 1024,
            command_ms: 3_600_000,
            process_ms: 600_000,
            wait_ms: 60_000,
            mirrors: Vec::new(),
        }
    }
}

impl PlanLimits {
    /// These limits, and the mirror that the settings name: the text under the key `mirror` of the `[services.NAME]`
    /// table, as the JSON object that the hook is shown. What a person writes there is an approval in itself; it can
    /// only come from jecloud.toml, never from the hook.
    #[must_use]
    pub fn with_mirror(mut self, settings: &str) -> Self {
        let settings: Option<serde_json::Value> = serde_json::from_str(settings).ok();
        let mirror = settings.as_ref().and_then(|settings| settings.get("mirror")).and_then(|mirror| mirror.as_str());
        self.mirrors.extend(mirror.map(str::to_owned));
        self
    }
}
