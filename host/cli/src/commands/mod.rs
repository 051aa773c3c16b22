//! One file per verb.

pub(crate) mod backup;
pub(crate) mod backups;
mod backups_now;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod destroy;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod fwd;
pub(crate) mod hook;
pub(crate) mod init;
mod last_backup;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod releases;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod server;
pub(crate) mod ssh;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod upgrade;
pub(crate) mod version;
