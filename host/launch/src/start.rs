//! From a [`Launch`] to a process: the program is looked up, inherited files are closed off, errors get names.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::fs::{Dir, FileType, Mode, OFlags};

use crate::{DEFAULT_PATH, Environment, Launch, LaunchError, find_program};

/// A command that only lacks its standard streams.
pub(crate) struct Prepared {
    pub(crate) command: Command,
    program: PathBuf,
    /// Keep the numbers that the new process gets taken until it is started; see [`reserve`].
    _reserved: Vec<OwnedFd>,
}

/// Looks up the program and sets everything but the standard streams and the process group.
///
/// `fds` are handed to the new process under the given numbers. Nothing else above standard error is.
pub(crate) fn prepare(launch: &Launch, fds: Vec<(OwnedFd, RawFd)>) -> Result<Prepared, LaunchError> {
    if let Some(path) = &launch.cwd {
        let enter = rustix::fs::stat(path).map_err(io::Error::from).and_then(|stat| {
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_directory { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
        });
        enter.map_err(|source| LaunchError::Directory {
            path: path.clone(),
            program: launch.program.clone(),
            source,
        })?;
    }
    let program = locate(launch)?;
    let mut command = Command::new(&program);
    // The program sees the name it was called by: some decide by it what they are.
    command.arg0(&launch.program).args(&launch.args);
    match &launch.env {
        Environment::Inherit(changes) => {
            for (name, value) in changes {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
        }
        Environment::Exactly(all) => {
            command.env_clear().envs(all);
        }
    }
    if let Some(directory) = &launch.cwd {
        command.current_dir(directory);
    }
    if let Some(user) = launch.user {
        // The standard library drops all supplementary groups when root sets a user id and no groups.
        command.gid(user.gid).uid(user.uid);
    }
    let other = |source| LaunchError::Other { program: program.clone(), source };
    let (mappings, reserved) = reserve(fds).map_err(other)?;
    if !mappings.is_empty() {
        command.fd_mappings(mappings).map_err(|collision| other(io::Error::other(collision)))?;
    }
    Ok(Prepared { command, program, _reserved: reserved })
}

impl Prepared {
    /// Starts it.
    pub(crate) fn spawn(mut self) -> Result<std::process::Child, LaunchError> {
        self.command.spawn().map_err(|source| {
            let program = self.program.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => LaunchError::Permission { program, source },
                // The file is there, it was looked up: what is missing is the interpreter it names.
                io::ErrorKind::NotFound => LaunchError::NotExecutable { program, source },
                _ if source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                    LaunchError::NotExecutable { program, source }
                }
                _ => LaunchError::Other { program, source },
            }
        })
    }

    /// The same with these streams, as the leader of its own group if so wished.
    pub(crate) fn streams(mut self, input: Stdio, output: Stdio, errors: Stdio, own_group: bool) -> Self {
        self.command.stdin(input).stdout(output).stderr(errors);
        if own_group {
            self.command.process_group(0);
        }
        self
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.program.clone()
    }
}

/// The file that is to be executed.
fn locate(launch: &Launch) -> Result<PathBuf, LaunchError> {
    let name = launch.program.as_os_str();
    if name.as_bytes().contains(&b'/') {
        // As the kernel would take it: from the working directory of the new process.
        let path = match &launch.cwd {
            Some(directory) => directory.join(&launch.program),
            None => launch.program.clone(),
        };
        return match rustix::fs::access(&path, rustix::fs::Access::EXISTS) {
            Ok(()) => Ok(path),
            Err(rustix::io::Errno::ACCESS) => {
                Err(LaunchError::Permission { program: path, source: io::ErrorKind::PermissionDenied.into() })
            }
            Err(_) => Err(LaunchError::NotFound {
                program: launch.program.clone(),
                searched: path.parent().unwrap_or(&path).display().to_string(),
            }),
        };
    }
    let searched = search_path(&launch.env);
    find_program(name, &searched).ok_or_else(|| LaunchError::NotFound {
        program: launch.program.clone(),
        searched: searched.to_string_lossy().into_owned(),
    })
}

/// The `PATH` of the new process.
fn search_path(env: &Environment) -> OsString {
    let name = OsStr::new("PATH");
    let path = match env {
        Environment::Exactly(all) => all.get(name).cloned(),
        Environment::Inherit(changes) => match changes.get(name) {
            Some(changed) => changed.clone(),
            None => std::env::var_os(name),
        },
    };
    path.unwrap_or_else(|| DEFAULT_PATH.into())
}

/// What becomes which descriptor of the new process.
///
/// Every file that this process opens is closed in the new one (`O_CLOEXEC`), but not those which it inherited itself
/// from a careless parent: a build server's pipe, held open by a process manager, would make the build server wait
/// for ever. They are covered by `/dev/null`, which unlike closing them needs no unsafe code.
///
/// The second result takes all numbers below the highest wanted one until the process is started. Otherwise the
/// standard library could get one of these numbers for the pipe through which the new process reports that it
/// could not execute the program, and putting a file in its place would make every failure look like success.
fn reserve(fds: Vec<(OwnedFd, RawFd)>) -> io::Result<(Vec<FdMapping>, Vec<OwnedFd>)> {
    let wanted: BTreeSet<RawFd> = fds.iter().map(|(_, number)| *number).collect();
    let mut mappings: Vec<FdMapping> =
        fds.into_iter().map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
    for child_fd in inherited() {
        if !wanted.contains(&child_fd) {
            mappings.push(FdMapping { parent_fd: null(OFlags::RDWR)?, child_fd });
        }
    }
    let mut reserved = Vec::new();
    if let Some(highest) = wanted.last() {
        loop {
            let fd = null(OFlags::RDONLY)?;
            if fd.as_raw_fd() > *highest {
                break;
            }
            reserved.push(fd);
        }
    }
    Ok((mappings, reserved))
}

fn null(access: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", access | OFlags::CLOEXEC, Mode::empty())?)
}

/// The descriptors above standard error that a new process would inherit.
fn inherited() -> Vec<RawFd> {
    let directory =
        rustix::fs::open("/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let Ok(directory) = directory else { return Vec::new() };
    let Ok(entries) = Dir::new(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
        .filter(|fd| *fd > 2 && !closes_on_exec(*fd))
        .collect()
}

/// Whether a descriptor is closed in a new process. One that is gone by now counts as closed.
fn closes_on_exec(fd: RawFd) -> bool {
    let path = format!("/proc/self/fdinfo/{fd}");
    let Ok(file) = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return true };
    let mut info = String::new();
    if io::PipeReader::from(file).read_to_string(&mut info).is_err() {
        return true;
    }
    info.lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok())
        .is_none_or(|flags| flags & OFlags::CLOEXEC.bits() != 0)
}
